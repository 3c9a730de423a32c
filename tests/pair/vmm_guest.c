/* SPDX-License-Identifier: MIT */
/* The guest's side of a device of vmm/: transport, driver, frames, commands; knows no test. */
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm_guest.h"

enum {
	STATUS_DRIVER_OK = 4,
	STATUS_FEATURES_OK = 8,
	STATUS_NEEDS_RESET = 64,
	COMMAND_ROOM = 4096, /* bytes for a command, and as many for its answer */
};

/*
 * ---- Transport ----
 */
static struct guest *guest_of(struct vmm_virtio *virtio)
{
	return (struct guest *)(void *)((uint8_t *)virtio - offsetof(struct guest, virtio));
}

static void config_changed(struct vmm_virtio *virtio)
{
	guest_of(virtio)->config_changes++;
}

static void needs_reset(struct vmm_virtio *virtio)
{
	guest_of(virtio)->needs_resets++;
	virtio->status |= STATUS_NEEDS_RESET;
}

static void after_reset(struct guest *guest)
{
	guest->virtio.status = 0;
	guest->virtio.features = 0;
	guest->is_stopping = false;
	for (unsigned int i = 0; i < guest->virtio.device->nr_queues; i++) {
		guest->queue[i].is_enabled = false;
		guest->queue[i].num = guest->queue[i].max_num;
		guest->queue[i].desc = guest->queue[i].driver = guest->queue[i].device = 0;
	}
}

static void stopped(struct vmm_virtio *virtio)
{
	struct guest *guest = guest_of(virtio);

	assert_true(guest->is_stopping);
	guest->stops++;
	after_reset(guest);
}

static const struct vmm_virtio_transport_ops transport = {
	.config_changed = config_changed,
	.needs_reset = needs_reset,
	.stopped = stopped,
};

void guest_init(struct guest *guest)
{
	memset(guest, 0, sizeof(*guest));
	assert_int_equal(vhu_memory_new(&guest->memory), 0);
	assert_int_equal(vhu_memory_add(guest->memory, GUEST_GPA, GUEST_MEMORY, 0), 0);
}

void guest_attach(struct guest *guest, const struct vmm_virtio_device *device, int fd,
		  int (*process)(void *arg), void *arg)
{
	assert_in_range(device->nr_queues, 1, GUEST_QUEUES);
	guest->fd = fd;
	guest->process = process;
	guest->arg = arg;
	guest->virtio = (struct vmm_virtio){ .device = device,
					     .transport = &transport,
					     .queues = guest->queue };
	for (unsigned int i = 0; i < device->nr_queues; i++) {
		guest->queue[i].max_num = device->max_num[i];
		guest->queue[i].kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		guest->queue[i].call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		assert_true(guest->queue[i].kick_fd >= 0 && guest->queue[i].call_fd >= 0);
	}
	after_reset(guest);
}

void guest_fini(struct guest *guest)
{
	for (unsigned int i = 0; i < GUEST_QUEUES && guest->queue[i].max_num; i++) {
		close(guest->queue[i].kick_fd);
		close(guest->queue[i].call_fd);
	}
	vhu_memory_free(guest->memory);
}

void guest_hear(void *arg, const char *device, const char *text)
{
	struct guest *guest = arg;
	size_t at = strlen(guest->texts);

	assert_non_null(device);
	assert_true(strlen(text) < VMM_TEXT);
	if (at + strlen(text) + 2 < sizeof(guest->texts))
		sprintf(guest->texts + at, "%s\n", text);
}

void guest_check_heard(const struct guest *guest, const char *text)
{
	if (!strstr(guest->texts, text))
		fail_msg("no \"%s\" in:\n%s", text, guest->texts);
}

bool guest_pump(struct guest *guest)
{
	struct pollfd p = { .fd = guest->fd, .events = POLLIN };
	bool busy = liar_pump();

	/* only when it says so: that it does say so is a promise */
	if (poll(&p, 1, 0) > 0) {
		assert_int_equal(guest->process(guest->arg), 0);
		busy = true;
	}
	return fixture_pump(NULL) || busy;
}

uint64_t guest_offer(const struct guest *guest)
{
	const struct vmm_virtio_device *device = guest->virtio.device;

	return device->ops->features(device->arg) | VHU_MASK(VHU_F_VERSION_1_BIT);
}

bool guest_accept(struct guest *guest, uint64_t features)
{
	const struct vmm_virtio_device *device = guest->virtio.device;

	if (!device->ops->accept(device->arg, features))
		return false;
	guest->virtio.features = features;
	guest->virtio.status |= STATUS_FEATURES_OK;
	return true;
}

void guest_set_queue(struct guest *guest, unsigned int i, struct vhu_driver *driver)
{
	struct vmm_virtio_queue *q = &guest->queue[i];
	struct vhu_ring_addr addr;

	assert_true(i < guest->virtio.device->nr_queues);
	assert_true(vhu_driver_num(driver) <= q->max_num);
	vhu_driver_addr(driver, &addr);
	q->num = (uint16_t)vhu_driver_num(driver);
	q->desc = addr.desc_gpa;
	q->driver = addr.avail_gpa;
	q->device = addr.used_gpa;
	vhu_driver_set_kick_fd(driver, q->kick_fd);
}

void guest_enable(struct guest *guest, unsigned int i)
{
	const struct vmm_virtio_device *device = guest->virtio.device;

	guest->queue[i].is_enabled = true;
	if (guest->virtio.status & STATUS_DRIVER_OK)
		device->ops->queue_enabled(device->arg, i);
}

void guest_driver_ok(struct guest *guest)
{
	const struct vmm_virtio_device *device = guest->virtio.device;

	guest->virtio.status |= STATUS_DRIVER_OK;
	device->ops->start(device->arg);
}

void guest_ask_reset(struct guest *guest)
{
	const struct vmm_virtio_device *device = guest->virtio.device;

	guest->is_stopping = true;
	if (device->ops->stop(device->arg))
		after_reset(guest);
}

void guest_reset(struct guest *guest)
{
	guest_ask_reset(guest);
	guest_until(guest, !guest->is_stopping);
}

void guest_read_config(const struct guest *guest, unsigned int offset, void *to, unsigned int size)
{
	const struct vmm_virtio_device *device = guest->virtio.device;

	device->ops->config_read(device->arg, offset, to, size);
}

uint64_t guest_calls(const struct guest *guest, unsigned int i)
{
	uint64_t count = 0;

	return read(guest->queue[i].call_fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

/*
 * ---- A network card ----
 */
static int process_net(void *arg)
{
	return vmm_net_process(arg);
}

void nic_init(struct nic *nic, const struct nic_options *options)
{
	char text[VMM_TEXT] = "";
	int err;

	memset(nic, 0, sizeof(*nic));
	nic->options = *options;
	if (!nic->options.ring_size)
		nic->options.ring_size = 64;
	guest_init(&nic->guest);
	nic->options.net.name = "net0";
	nic->options.net.memory = nic->guest.memory;
	nic->options.net.say = guest_hear;
	nic->options.net.say_arg = &nic->guest;
	err = vmm_net_new(&nic->net, &nic->options.net, text);
	if (err)
		fail_msg("vmm_net_new: %s (%d)", text, err);
	guest_attach(&nic->guest, vmm_net_device(nic->net), vmm_net_fd(nic->net), process_net,
		     nic->net);
	assert_int_equal(vmm_net_attach(nic->net, &nic->guest.virtio), 0);
}

void nic_free(struct nic *nic)
{
	vmm_net_free(nic->net);
	nic_drop_rings(nic);
	guest_fini(&nic->guest);
}

void nic_wait(struct nic *nic)
{
	guest_until(&nic->guest, vmm_net_link_is_up(nic->net));
}

void nic_negotiate(struct nic *nic)
{
	uint64_t wanted = nic->options.features ? nic->options.features : UINT64_MAX;

	wanted &= guest_offer(&nic->guest) & ~nic->options.no_features;
	assert_true(guest_accept(&nic->guest, wanted));
}

void nic_drop_rings(struct nic *nic)
{
	for (unsigned int i = 0; i < nic->nr_pairs; i++) {
		vhu_net_rx_free(nic->pair[i].rx);
		vhu_net_tx_free(nic->pair[i].tx);
	}
	vhu_driver_free(nic->control);
	nic->control = NULL;
	nic->nr_pairs = 0;
	vhu_memory_alloc_reset(nic->guest.memory);
}

static unsigned int control_queue(const struct nic *nic)
{
	bool mq = nic->guest.virtio.features & VHU_MASK(VHU_NET_F_MQ_BIT);

	return mq ? nic->guest.virtio.device->nr_queues - 1 : 2;
}

static void make_control(struct nic *nic)
{
	struct vhu_driver_options options = { .size = sizeof(options),
					      .memory = nic->guest.memory,
					      .num = nic->options.ring_size,
					      .features = nic->guest.virtio.features,
					      .indirect_max = 8 };

	assert_int_equal(vhu_driver_new(&nic->control, &options), 0);
	nic->command = vhu_memory_alloc(nic->guest.memory, 2 * COMMAND_ROOM, 64, &nic->command_gpa);
	assert_non_null(nic->command);
	guest_set_queue(&nic->guest, control_queue(nic), nic->control);
	guest_enable(&nic->guest, control_queue(nic));
}

void nic_make_rings(struct nic *nic, unsigned int pairs)
{
	struct vhu_net_ring_options options = { .size = sizeof(options),
						.memory = nic->guest.memory,
						.num = nic->options.ring_size,
						.features = nic->guest.virtio.features,
						.frame_max = NIC_FRAME_MAX,
						.pieces = 2 };

	nic_drop_rings(nic);
	for (unsigned int i = 0; i < pairs; i++) {
		struct nic_pair *p = &nic->pair[i];

		memset(p, 0, sizeof(*p));
		assert_int_equal(vhu_net_rx_new(&p->rx, &options), 0);
		assert_int_equal(vhu_net_tx_new(&p->tx, &options), 0);
		guest_set_queue(&nic->guest, 2 * i, vhu_net_rx_driver(p->rx));
		guest_set_queue(&nic->guest, 2 * i + 1, vhu_net_tx_driver(p->tx));
		guest_enable(&nic->guest, 2 * i);
		guest_enable(&nic->guest, 2 * i + 1);
		vhu_net_rx_fill(p->rx);
	}
	nic->nr_pairs = pairs;
	if (nic->guest.virtio.features & VHU_MASK(VHU_NET_F_CTRL_VQ_BIT))
		make_control(nic);
}

void nic_start(struct nic *nic, unsigned int pairs)
{
	nic_negotiate(nic);
	nic_make_rings(nic, pairs);
	guest_driver_ok(&nic->guest);
}

uint16_t nic_status(const struct nic *nic)
{
	uint16_t status;

	guest_read_config(&nic->guest, 6, &status, sizeof(status));
	return status;
}

/*
 * ---- Frames ----
 */
static uint32_t frame_size(uint32_t number)
{
	return 18 + (number * UINT32_C(2654435761) >> 8) % (NIC_FRAME_MAX - 17);
}

static bool receive(struct nic_pair *p)
{
	static uint8_t bytes[VHU_NET_FRAME_MAX];
	int nr = vhu_net_rx_pull(p->rx, VHU_NET_BURST);

	if (nr < 0)
		fail_msg("receive ring: %s", vhu_driver_fault(vhu_net_rx_driver(p->rx)));
	for (int i = 0; i < nr; i++) {
		const struct vhu_net_frame *frame = &vhu_net_rx_frames(p->rx)[i];
		size_t at = frame->head_len;

		memcpy(bytes, frame->head, at);
		for (unsigned int k = 0; k < frame->nr_iov; k++) {
			memcpy(bytes + at, frame->iov[k].iov_base, frame->iov[k].iov_len);
			at += frame->iov[k].iov_len;
		}
		assert_int_equal(at, frame_size(p->received));
		assert_true(drv_net_verify(bytes, at, p->received));
		p->received++;
	}
	vhu_net_rx_done(p->rx);
	return nr > 0;
}

bool nic_turn(struct nic *nic, unsigned int pair, uint32_t end)
{
	struct nic_pair *p = &nic->pair[pair];
	bool busy = receive(p);

	while (p->sent < end && p->sent - p->received < 16) {
		uint8_t *at = vhu_net_tx_buffer(p->tx);

		if (!at)
			break;
		drv_net_make(at, frame_size(p->sent), p->sent);
		assert_int_equal(vhu_net_tx_send(p->tx, NULL, frame_size(p->sent)), 0);
		p->sent++;
		busy = true;
	}
	vhu_net_tx_publish(p->tx);
	return busy;
}

void nic_echo(struct nic *nic, unsigned int pair, unsigned int nr)
{
	struct nic_pair *p = &nic->pair[pair];
	uint32_t end = p->sent + nr;
	int64_t give_up = check_now_ms() + CHECK_PATIENCE_MS;

	while (p->received < end) {
		bool busy = nic_turn(nic, pair, end);

		busy |= guest_pump(&nic->guest);
		if (!busy)
			check_pause();
		if (check_now_ms() > give_up)
			fail_msg("pair %u: %u of %u frames came back; heard:\n%s", pair,
				 p->received, end, nic->guest.texts);
	}
}

/*
 * ---- Commands ----
 */
void nic_put_command(struct nic *nic, const void *bytes, uint32_t len, uint32_t room)
{
	struct vhu_buffer pieces[3] = { { nic->command_gpa, len < 2 ? len : 2 } };
	unsigned int nr_read = 1;

	assert_true(len <= COMMAND_ROOM && room <= COMMAND_ROOM);
	memcpy(nic->command, bytes, len);
	memset(nic->command + COMMAND_ROOM, 0xee, COMMAND_ROOM);
	if (len > 2)
		pieces[nr_read++] = (struct vhu_buffer){ nic->command_gpa + 2, len - 2 };
	if (room)
		pieces[nr_read] = (struct vhu_buffer){ nic->command_gpa + COMMAND_ROOM, room };
	assert_int_equal(vhu_driver_add(nic->control, pieces, nr_read, room ? 1 : 0, ++nic->token),
			 0);
	vhu_driver_publish(nic->control);
}

int nic_take_answer(struct nic *nic)
{
	struct vhu_used used;
	int got = vhu_driver_take(nic->control, &used);

	if (got < 0)
		fail_msg("control queue: %s", vhu_driver_fault(nic->control));
	if (!got)
		return -1;
	assert_int_equal(used.token, nic->token);
	/* a byte, if there was room for one, and no more than that */
	assert_in_range(used.len, 0, 1);
	assert_int_equal(nic->command[COMMAND_ROOM + 1], 0xee);
	return used.len ? nic->command[COMMAND_ROOM] : 0xee;
}

int nic_command(struct nic *nic, uint8_t class, uint8_t number, const void *data, uint32_t len)
{
	uint8_t bytes[COMMAND_ROOM];
	int answer = -1;

	bytes[0] = class;
	bytes[1] = number;
	assert_true(len <= sizeof(bytes) - 2);
	if (len)
		memcpy(bytes + 2, data, len);
	nic_put_command(nic, bytes, len + 2, 1);
	guest_until(&nic->guest, (answer = nic_take_answer(nic)) >= 0);
	return answer;
}
