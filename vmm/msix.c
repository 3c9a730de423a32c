// SPDX-License-Identifier: MIT
/*
 * MSI-X of one PCI function: which source is attached to which vector's route at any time. Knows
 * nothing of who writes the sources, nor of where an interrupt goes.
 *
 * One rule decides it all (may_interrupt()), and settle() makes each source what the rule says after
 * whatever changed. What the controller refuses leaves a source detached, which loses nothing: its
 * count is still there when the next change asks again.
 */

#include <vmm/event.h>
#include <vmm/msix.h>

#include <errno.h>
#include <linux/pci_regs.h>
#include <poll.h>
#include <stdlib.h>

enum {
	ENTRY_SIZE = 16,
	PBA_ALIGN = 4096,
	NO_ROUTE = -1,
	POLL_AT_ONCE = 64,
};

struct vector {
	struct vmm_msi msi;
	bool is_masked;
	bool is_routed; /* the route stands for msi as it is now */
	int route;	/* NO_ROUTE: nobody is connected */
	unsigned int nr_sources;
};

struct source {
	int eventfd;
	unsigned int vector;
	bool is_attached;
};

struct vmm_msix {
	struct vmm_msix_options options;
	unsigned int cap; /* in configuration space */
	bool is_on, is_masked;
	struct vector *vectors;
	struct source *sources;
	unsigned int nr_sources, room;
};

static uint64_t pba_offset(unsigned int nr_vectors)
{
	return ((uint64_t)nr_vectors * ENTRY_SIZE + PBA_ALIGN - 1) / PBA_ALIGN * PBA_ALIGN;
}

uint64_t vmm_msix_size(unsigned int nr_vectors)
{
	return pba_offset(nr_vectors) + ((uint64_t)nr_vectors + 63) / 64 * 8;
}

static int add_capability(struct vmm_msix *msix)
{
	const struct vmm_msix_options *options = &msix->options;
	uint32_t table = (uint32_t)options->offset | options->bar;
	uint32_t pba = table + (uint32_t)pba_offset(options->nr_vectors);
	uint8_t writable[PCI_CAP_MSIX_SIZEOF] = { 0 };
	uint8_t bytes[PCI_CAP_MSIX_SIZEOF] = { 0 };
	int at;

	writable[PCI_MSIX_FLAGS + 1] = (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL) >> 8;
	at = vmm_pci_add_capability(options->pci, PCI_CAP_ID_MSIX, bytes, writable, sizeof(bytes));
	if (at < 0)
		return at;
	msix->cap = (unsigned int)at;
	vmm_pci_set(options->pci, msix->cap + PCI_MSIX_FLAGS, 2, options->nr_vectors - 1);
	vmm_pci_set(options->pci, msix->cap + PCI_MSIX_TABLE, 4, table);
	vmm_pci_set(options->pci, msix->cap + PCI_MSIX_PBA, 4, pba);
	return 0;
}

static bool is_sound(const struct vmm_msix_options *options)
{
	if (!options->nr_vectors || options->nr_vectors > VMM_MSIX_MAX)
		return false;
	if (options->bar >= VMM_PCI_BARS || options->offset % 8)
		return false;
	return options->offset <= UINT32_MAX - vmm_msix_size(options->nr_vectors);
}

int vmm_msix_new(struct vmm_msix **ret_msix, const struct vmm_msix_options *options)
{
	struct vmm_msix *msix;
	int ret = -ENOMEM;

	if (!is_sound(options))
		return -EINVAL;
	msix = calloc(1, sizeof(*msix));
	if (!msix)
		return -ENOMEM;
	msix->options = *options;
	msix->vectors = calloc(options->nr_vectors, sizeof(*msix->vectors));
	if (msix->vectors)
		ret = add_capability(msix);
	if (ret) {
		free(msix->vectors);
		free(msix);
		return ret;
	}
	for (unsigned int i = 0; i < options->nr_vectors; i++)
		msix->vectors[i] = (struct vector){ .is_masked = true, .route = NO_ROUTE };
	*ret_msix = msix;
	return 0;
}

bool vmm_msix_is_on(const struct vmm_msix *msix)
{
	return msix->is_on;
}

static bool is_pending(int eventfd)
{
	struct pollfd pollfd = { .fd = eventfd, .events = POLLIN };

	return poll(&pollfd, 1, 0) == 1 && pollfd.revents & POLLIN;
}

static void record(const struct vmm_msix *msix, const struct source *source)
{
	vmm_probe(msix->options.probe, VMM_AT_INTERRUPT, msix->options.device, "msi",
		  source->vector, msix->vectors[source->vector].msi.addr);
}

static int attach(struct vmm_msix *msix, struct source *source)
{
	const struct vmm_irq *irq = msix->options.irq;
	bool interrupts = is_pending(source->eventfd);
	int ret = irq->ops->attach(irq->arg, msix->vectors[source->vector].route, source->eventfd);

	if (ret)
		return ret;
	source->is_attached = true;
	if (interrupts)
		record(msix, source);
	return 0;
}

static void detach(struct vmm_msix *msix, struct source *source)
{
	const struct vmm_irq *irq = msix->options.irq;

	if (source->is_attached)
		irq->ops->detach(irq->arg, msix->vectors[source->vector].route, source->eventfd);
	source->is_attached = false;
}

static bool may_interrupt(const struct vmm_msix *msix, const struct vector *vector)
{
	return msix->is_on && !msix->is_masked && !vector->is_masked;
}

/* Makes the source what it has to be now; -errno: the controller could not, it is detached. */
static int settle(struct vmm_msix *msix, struct source *source)
{
	const struct vmm_irq *irq = msix->options.irq;
	struct vector *vector = &msix->vectors[source->vector];
	int ret = 0;

	if (!may_interrupt(msix, vector)) {
		detach(msix, source);
		return 0;
	}
	/* Not earlier: a guest writes a message in pieces, while the vector is masked. */
	if (!vector->is_routed) {
		ret = irq->ops->set_route(irq->arg, vector->route, &vector->msi);
		vector->is_routed = !ret;
	}
	if (ret)
		detach(msix, source);
	else if (!source->is_attached)
		ret = attach(msix, source);
	return ret;
}

static void settle_all(struct vmm_msix *msix)
{
	for (unsigned int i = 0; i < msix->nr_sources; i++)
		settle(msix, &msix->sources[i]);
}

static void settle_vector(struct vmm_msix *msix, unsigned int vector)
{
	for (unsigned int i = 0; i < msix->nr_sources; i++) {
		if (msix->sources[i].vector == vector)
			settle(msix, &msix->sources[i]);
	}
}

void vmm_msix_config_written(struct vmm_msix *msix, unsigned int offset, unsigned int size)
{
	unsigned int at = msix->cap + PCI_MSIX_FLAGS;
	bool was_on = msix->is_on;
	uint32_t flags;

	if (offset >= at + 2 || offset + size <= at)
		return;
	flags = vmm_pci_get(msix->options.pci, at, 2);
	msix->is_on = flags & PCI_MSIX_FLAGS_ENABLE;
	msix->is_masked = flags & PCI_MSIX_FLAGS_MASKALL;
	settle_all(msix);
	if (msix->is_on != was_on && msix->options.switched)
		msix->options.switched(msix->options.arg, msix->is_on);
}

void vmm_msix_reset(struct vmm_msix *msix)
{
	unsigned int at = msix->cap + PCI_MSIX_FLAGS;
	uint32_t flags = vmm_pci_get(msix->options.pci, at, 2);

	for (unsigned int i = 0; i < msix->options.nr_vectors; i++) {
		struct vector *vector = &msix->vectors[i];

		vector->is_masked = true;
		vector->msi = (struct vmm_msi){ 0 };
		vector->is_routed = false;
	}
	vmm_pci_set(msix->options.pci, at, 2, flags & PCI_MSIX_FLAGS_QSIZE);
	vmm_msix_config_written(msix, at, 2);
}

/* Half a table entry: message address, or message data and vector control. */
static uint64_t get_half(const struct vector *vector, bool is_upper)
{
	uint64_t control = vector->is_masked ? PCI_MSIX_ENTRY_CTRL_MASKBIT : 0;

	return is_upper ? control << 32 | vector->msi.data : vector->msi.addr;
}

static void set_half(struct vmm_msix *msix, unsigned int number, bool is_upper, uint64_t value)
{
	struct vector *vector = &msix->vectors[number];
	struct vmm_msi old = vector->msi;

	if (is_upper) {
		vector->msi.data = (uint32_t)value;
		vector->is_masked = value >> 32 & PCI_MSIX_ENTRY_CTRL_MASKBIT;
	} else {
		/* The lowest two bits are always 0. */
		vector->msi.addr = value & ~UINT64_C(3);
	}
	if (vector->msi.addr != old.addr || vector->msi.data != old.data)
		vector->is_routed = false;
	settle_vector(msix, number);
}

/* Bits of those polled that have a count. */
static uint64_t poll_batch(struct pollfd *fds, const unsigned int *bits, unsigned int nr)
{
	uint64_t pending = 0;

	if (!nr || poll(fds, nr, 0) <= 0)
		return 0;
	for (unsigned int i = 0; i < nr; i++) {
		if (fds[i].revents & POLLIN)
			pending |= UINT64_C(1) << bits[i];
	}
	return pending;
}

/* The pending bits of 64 vectors. */
static uint64_t pending_bits(const struct vmm_msix *msix, unsigned int first)
{
	struct pollfd fds[POLL_AT_ONCE];
	unsigned int bits[POLL_AT_ONCE], nr = 0;
	uint64_t pending = 0;

	for (unsigned int i = 0; i < msix->nr_sources; i++) {
		const struct source *source = &msix->sources[i];

		if (source->vector / 64 != first / 64 || source->is_attached)
			continue;
		fds[nr] = (struct pollfd){ .fd = source->eventfd, .events = POLLIN };
		bits[nr++] = source->vector % 64;
		if (nr == POLL_AT_ONCE) {
			pending |= poll_batch(fds, bits, nr);
			nr = 0;
		}
	}
	return pending | poll_batch(fds, bits, nr);
}

uint64_t vmm_msix_read(struct vmm_msix *msix, uint64_t offset, unsigned int size)
{
	uint64_t pba = pba_offset(msix->options.nr_vectors), half = 0;

	if (offset < (uint64_t)msix->options.nr_vectors * ENTRY_SIZE)
		half = get_half(&msix->vectors[offset / ENTRY_SIZE], offset & 8);
	else if (offset >= pba && offset < vmm_msix_size(msix->options.nr_vectors))
		half = pending_bits(msix, (unsigned int)(offset - pba) / 8 * 64);
	return half >> (offset % 8 * 8) & UINT64_MAX >> (64 - 8 * size);
}

/* PCI 3.0, 6.8.2: whole double or quad words; pending bits are read only. */
void vmm_msix_write(struct vmm_msix *msix, uint64_t offset, unsigned int size, uint64_t value)
{
	unsigned int number;
	uint64_t half;

	if (offset >= (uint64_t)msix->options.nr_vectors * ENTRY_SIZE || size < 4)
		return;
	number = (unsigned int)(offset / ENTRY_SIZE);
	half = get_half(&msix->vectors[number], offset & 8);
	if (size == 8)
		half = value;
	else if (offset & 4)
		half = (uint32_t)half | value << 32;
	else
		half = half >> 32 << 32 | (uint32_t)value;
	set_half(msix, number, offset & 8, half);
}

static struct source *find_source(const struct vmm_msix *msix, int eventfd)
{
	for (unsigned int i = 0; i < msix->nr_sources; i++) {
		if (msix->sources[i].eventfd == eventfd)
			return &msix->sources[i];
	}
	return NULL;
}

void vmm_msix_disconnect(struct vmm_msix *msix, int eventfd)
{
	const struct vmm_irq *irq = msix->options.irq;
	struct source *source = find_source(msix, eventfd);
	struct vector *vector;

	if (!source)
		return;
	detach(msix, source);
	vector = &msix->vectors[source->vector];
	if (!--vector->nr_sources) {
		irq->ops->free_route(irq->arg, vector->route);
		vector->route = NO_ROUTE;
		vector->is_routed = false;
	}
	*source = msix->sources[--msix->nr_sources];
}

static int make_room(struct vmm_msix *msix)
{
	unsigned int room = msix->room ? 2 * msix->room : 8;
	struct source *sources;

	if (msix->nr_sources < msix->room)
		return 0;
	sources = realloc(msix->sources, room * sizeof(*sources));
	if (!sources)
		return -ENOMEM;
	msix->sources = sources;
	msix->room = room;
	return 0;
}

static int add_route(struct vmm_msix *msix, struct vector *vector)
{
	const struct vmm_irq *irq = msix->options.irq;
	int route = irq->ops->new_route(irq->arg);

	if (route < 0)
		return route;
	vector->route = route;
	return 0;
}

int vmm_msix_connect(struct vmm_msix *msix, int eventfd, unsigned int number)
{
	const struct source *old = find_source(msix, eventfd);
	struct vector *vector;
	int ret;

	if (old && old->vector == number)
		return 0;
	/* First: the route that becomes free may be the one that is needed. */
	vmm_msix_disconnect(msix, eventfd);
	if (number == VMM_MSIX_NO_VECTOR)
		return 0;
	if (number >= msix->options.nr_vectors)
		return -EINVAL;
	vector = &msix->vectors[number];
	ret = make_room(msix);
	if (!ret && !vector->nr_sources)
		ret = add_route(msix, vector);
	if (ret)
		return ret;
	vector->nr_sources++;
	msix->sources[msix->nr_sources++] = (struct source){ .eventfd = eventfd, .vector = number };
	ret = settle(msix, &msix->sources[msix->nr_sources - 1]);
	if (ret)
		vmm_msix_disconnect(msix, eventfd);
	return ret;
}

void vmm_msix_signal(struct vmm_msix *msix, int eventfd)
{
	const struct source *source = find_source(msix, eventfd);

	vmm_event_raise(eventfd);
	if (source && source->is_attached)
		record(msix, source);
}

void vmm_msix_free(struct vmm_msix *msix)
{
	if (!msix)
		return;
	while (msix->nr_sources)
		vmm_msix_disconnect(msix, msix->sources[msix->nr_sources - 1].eventfd);
	free(msix->sources);
	free(msix->vectors);
	free(msix);
}
