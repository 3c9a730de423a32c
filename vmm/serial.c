// SPDX-License-Identifier: MIT
/* A 16550A: its registers as the guest sees them, two queues, one line (PC16550D data sheet, 8). */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <vmm/serial.h>

enum {
	OUT_SIZE = 16384, /* a power of two, as the next */
	IN_SIZE = 1024,
};

enum reg {
	REG_DATA = 0, /* receive, transmit; with DLAB the divisor, low */
	REG_IER = 1,  /* with DLAB the divisor, high */
	REG_IIR = 2,  /* written: FIFO control */
	REG_LCR = 3,
	REG_MCR = 4,
	REG_LSR = 5,
	REG_MSR = 6,
	REG_SCR = 7,
	NR_REGS = 8,
};

enum {
	IER_RX = 0x1,
	IER_TX = 0x2,
	IER_MASK = 0xf,
	IIR_NONE = 0x1,
	IIR_TX = 0x2,
	IIR_RX = 0x4,
	IIR_FIFO = 0xc0,
	FCR_ENABLE = 0x1,
	FCR_CLEAR_RX = 0x2,
	LCR_DLAB = 0x80,
	MCR_DTR = 0x1,
	MCR_RTS = 0x2,
	MCR_OUT1 = 0x4,
	MCR_OUT2 = 0x8, /* on a PC: the line reaches the interrupt controller */
	MCR_LOOP = 0x10,
	MCR_MASK = 0x1f,
	LSR_DATA = 0x1,
	LSR_TX_EMPTY = 0x60, /* holding register, and all of the transmitter */
	MSR_CTS = 0x10,
	MSR_DSR = 0x20,
	MSR_RI = 0x40,
	MSR_DCD = 0x80,
};

/* Indices run on, and are cut to the size when used. */
struct queue {
	uint8_t *bytes;
	uint32_t size, head, tail;
};

struct vmm_serial {
	struct vmm_serial_options options;
	struct vmm_range range;
	uint8_t ier, lcr, mcr, scr;
	uint16_t divisor;
	bool has_fifo;
	bool tx_pending; /* the transmitter became empty, and nobody was told */
	bool level;
	struct queue in, out;
	uint8_t in_bytes[IN_SIZE], out_bytes[OUT_SIZE];
};

static uint32_t filled(const struct queue *queue)
{
	return queue->tail - queue->head;
}

static void put(struct queue *queue, uint8_t byte)
{
	if (filled(queue) < queue->size)
		queue->bytes[queue->tail++ & (queue->size - 1)] = byte;
}

static uint8_t take(struct queue *queue)
{
	return filled(queue) ? queue->bytes[queue->head++ & (queue->size - 1)] : 0;
}

static bool can_send(const struct vmm_serial *serial)
{
	return filled(&serial->out) < serial->out.size;
}

/* The most urgent one. */
static uint8_t pending(const struct vmm_serial *serial)
{
	if (serial->ier & IER_RX && filled(&serial->in))
		return IIR_RX;
	if (serial->ier & IER_TX && serial->tx_pending)
		return IIR_TX;
	return IIR_NONE;
}

static void set_line(struct vmm_serial *serial)
{
	bool level =
		serial->mcr & MCR_OUT2 && !(serial->mcr & MCR_LOOP) && pending(serial) != IIR_NONE;

	if (level == serial->level)
		return;
	serial->level = level;
	serial->options.irq->ops->set_line(serial->options.irq->arg, serial->options.pin, level);
}

/* ---- Registers ---- */

static void send(struct vmm_serial *serial, uint8_t byte)
{
	if (serial->mcr & MCR_LOOP) {
		put(&serial->in, byte);
	} else if (can_send(serial)) {
		put(&serial->out, byte);
		if (filled(&serial->out) == 1)
			serial->options.sent(serial->options.arg);
	}
	/* It is gone at once: the edge between is what a driver waits for. */
	serial->tx_pending = false;
	set_line(serial);
	serial->tx_pending = can_send(serial);
}

static uint8_t receive(struct vmm_serial *serial)
{
	bool was_full = filled(&serial->in) == serial->in.size;
	uint8_t byte = take(&serial->in);

	if (was_full)
		serial->options.room(serial->options.arg);
	return byte;
}

static uint8_t modem_status(const struct vmm_serial *serial)
{
	const uint8_t mcr = serial->mcr;

	if (!(mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	return (uint8_t)((mcr & MCR_RTS ? MSR_CTS : 0) | (mcr & MCR_DTR ? MSR_DSR : 0) |
			 (mcr & MCR_OUT1 ? MSR_RI : 0) | (mcr & MCR_OUT2 ? MSR_DCD : 0));
}

static uint8_t identify(struct vmm_serial *serial)
{
	uint8_t iir = pending(serial);

	/* To be told of an empty transmitter is enough: reading takes it back. */
	if (iir == IIR_TX)
		serial->tx_pending = false;
	return serial->has_fifo ? iir | IIR_FIFO : iir;
}

static uint8_t read_reg(struct vmm_serial *serial, enum reg reg)
{
	const bool dlab = serial->lcr & LCR_DLAB;

	switch (reg) {
	case REG_DATA:
		return dlab ? (uint8_t)serial->divisor : receive(serial);
	case REG_IER:
		return dlab ? (uint8_t)(serial->divisor >> 8) : serial->ier;
	case REG_IIR:
		return identify(serial);
	case REG_LCR:
		return serial->lcr;
	case REG_MCR:
		return serial->mcr;
	case REG_LSR:
		return (uint8_t)((filled(&serial->in) ? LSR_DATA : 0) |
				 (can_send(serial) ? LSR_TX_EMPTY : 0));
	case REG_MSR:
		return modem_status(serial);
	case REG_SCR:
		return serial->scr;
	default:
		return 0xff;
	}
}

static void set_enabled(struct vmm_serial *serial, uint8_t value)
{
	/* Asked for while the transmitter is empty: that is a reason. */
	if (value & IER_TX && !(serial->ier & IER_TX))
		serial->tx_pending = can_send(serial);
	serial->ier = value & IER_MASK;
}

static void control_fifo(struct vmm_serial *serial, uint8_t value)
{
	serial->has_fifo = value & FCR_ENABLE;
	if (!(value & FCR_CLEAR_RX))
		return;
	/* What waits to be fetched was sent already, and stays. */
	serial->in.head = serial->in.tail;
	serial->options.room(serial->options.arg);
}

static void write_reg(struct vmm_serial *serial, enum reg reg, uint8_t value)
{
	const bool dlab = serial->lcr & LCR_DLAB;

	switch (reg) {
	case REG_DATA:
		if (dlab)
			serial->divisor = (uint16_t)((serial->divisor & 0xff00) | value);
		else
			send(serial, value);
		break;
	case REG_IER:
		if (dlab)
			serial->divisor = (uint16_t)((serial->divisor & 0xff) | value << 8);
		else
			set_enabled(serial, value);
		break;
	case REG_IIR:
		control_fifo(serial, value);
		break;
	case REG_LCR:
		serial->lcr = value;
		break;
	case REG_MCR:
		serial->mcr = value & MCR_MASK;
		break;
	case REG_SCR:
		serial->scr = value;
		break;
	default: /* the status registers */
		break;
	}
}

static uint64_t on_read(void *arg, uint64_t offset, unsigned int size)
{
	struct vmm_serial *serial = arg;
	uint8_t value = read_reg(serial, (enum reg)offset);

	(void)size;
	set_line(serial);
	return value;
}

static void on_write(void *arg, uint64_t offset, unsigned int size, uint64_t value)
{
	struct vmm_serial *serial = arg;

	(void)size;
	write_reg(serial, (enum reg)offset, (uint8_t)value);
	set_line(serial);
}

static const struct vmm_range_ops range_ops = {
	.read = on_read,
	.write = on_write,
	.min_size = 1,
	.max_size = 1,
};

/* ---- The other end ---- */

int vmm_serial_new(struct vmm_serial **ret_serial, const struct vmm_serial_options *options)
{
	struct vmm_serial *serial = calloc(1, sizeof(*serial));
	int err;

	if (!serial)
		return -ENOMEM;
	serial->options = *options;
	serial->in = (struct queue){ .bytes = serial->in_bytes, .size = IN_SIZE };
	serial->out = (struct queue){ .bytes = serial->out_bytes, .size = OUT_SIZE };
	serial->divisor = 1; /* 115200 */
	serial->range = (struct vmm_range){
		.base = options->base,
		.size = NR_REGS,
		.name = "serial",
		.ops = &range_ops,
		.arg = serial,
	};
	err = vmm_bus_add(options->port, &serial->range, NULL);
	if (err < 0) {
		free(serial);
		return err;
	}
	*ret_serial = serial;
	return 0;
}

void vmm_serial_free(struct vmm_serial *serial)
{
	if (!serial)
		return;
	vmm_bus_remove(serial->options.port, &serial->range);
	free(serial);
}

size_t vmm_serial_fetch(struct vmm_serial *serial, void *data, size_t len)
{
	bool was_full = !can_send(serial);
	uint8_t *to = data;
	size_t nr = 0;

	while (nr < len && filled(&serial->out))
		to[nr++] = take(&serial->out);
	if (was_full && nr) {
		serial->tx_pending = true;
		set_line(serial);
	}
	/* Of what is left, no byte that follows will tell. */
	if (nr && filled(&serial->out))
		serial->options.sent(serial->options.arg);
	return nr;
}

size_t vmm_serial_room(const struct vmm_serial *serial)
{
	return serial->in.size - filled(&serial->in);
}

void vmm_serial_input(struct vmm_serial *serial, const void *data, size_t len)
{
	const uint8_t *from = data;

	for (size_t i = 0; i < len; i++)
		put(&serial->in, from[i]);
	set_line(serial);
}
