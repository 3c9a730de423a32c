// SPDX-License-Identifier: MIT
/*
 * Finds the range that an address lies in, and cuts an access to what the range takes. Knows nothing
 * of what a range is for.
 */

#include <vmm/bus.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct vmm_bus {
	const char *name;
	const struct vmm_probe *probe;
	struct vmm_range **ranges; /* by base; they never overlap */
	size_t nr, room;
};

struct vmm_bus *vmm_bus_new(const char *name, const struct vmm_probe *probe)
{
	struct vmm_bus *bus = calloc(1, sizeof(*bus));

	if (!bus)
		return NULL;
	bus->name = name;
	bus->probe = probe;
	return bus;
}

void vmm_bus_free(struct vmm_bus *bus)
{
	if (!bus)
		return;
	free(bus->ranges);
	free(bus);
}

/* How many ranges begin at addr or below: the last of those is the only one that can hold it. */
static size_t nr_up_to(const struct vmm_bus *bus, uint64_t addr)
{
	size_t low = 0, high = bus->nr;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (bus->ranges[middle]->base <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct vmm_range *vmm_bus_find(const struct vmm_bus *bus, uint64_t addr)
{
	size_t nr = nr_up_to(bus, addr);
	const struct vmm_range *range = nr ? bus->ranges[nr - 1] : NULL;

	return range && addr - range->base < range->size ? range : NULL;
}

static bool is_size(unsigned int size)
{
	return size == 1 || size == 2 || size == 4 || size == 8;
}

static bool is_sound(const struct vmm_range *range)
{
	const struct vmm_range_ops *ops = range->ops;

	if (!is_size(ops->min_size) || !is_size(ops->max_size) || ops->min_size > ops->max_size)
		return false;
	/* A widened access may not reach behind the end. */
	if (!range->size || range->size % ops->min_size)
		return false;
	return range->size - 1 <= UINT64_MAX - range->base;
}

/* With whom a range would overlap if it came after the first `before` of them. */
static const struct vmm_range *overlapped(const struct vmm_bus *bus, const struct vmm_range *range,
					  size_t before)
{
	if (before) {
		const struct vmm_range *low = bus->ranges[before - 1];

		if (range->base - low->base < low->size)
			return low;
	}
	if (before < bus->nr) {
		const struct vmm_range *high = bus->ranges[before];

		if (high->base - range->base < range->size)
			return high;
	}
	return NULL;
}

int vmm_bus_add(struct vmm_bus *bus, struct vmm_range *range, const struct vmm_range **ret_other)
{
	const struct vmm_range *other;
	size_t place;

	if (!is_sound(range))
		return -EINVAL;
	place = nr_up_to(bus, range->base);
	other = overlapped(bus, range, place);
	if (other) {
		if (ret_other)
			*ret_other = other;
		return -EEXIST;
	}
	if (bus->nr == bus->room) {
		size_t room = bus->room ? 2 * bus->room : 16;
		void *ranges = realloc(bus->ranges, room * sizeof(struct vmm_range *));

		if (!ranges)
			return -ENOMEM;
		bus->ranges = ranges;
		bus->room = room;
	}
	for (size_t i = bus->nr; i > place; i--)
		bus->ranges[i] = bus->ranges[i - 1];
	bus->ranges[place] = range;
	bus->nr++;
	return 0;
}

void vmm_bus_remove(struct vmm_bus *bus, struct vmm_range *range)
{
	size_t nr = nr_up_to(bus, range->base);

	if (!nr || bus->ranges[nr - 1] != range)
		return;
	/* The room stays, so that what was removed can come back without memory. */
	for (size_t i = nr; i < bus->nr; i++)
		bus->ranges[i - 1] = bus->ranges[i];
	bus->nr--;
}

/* One call of a range: `size` bytes from offset on, of which the access has `len`, after `skip`. */
struct cut {
	const struct vmm_range *range; /* NULL: nobody is there, the access has len bytes of that */
	uint64_t offset;
	unsigned int size, skip, len;
};

static struct cut cut_nothing(const struct vmm_bus *bus, uint64_t addr, unsigned int len)
{
	size_t next = nr_up_to(bus, addr);
	struct cut cut = { .len = len };

	if (next < bus->nr && bus->ranges[next]->base - addr < len)
		cut.len = (unsigned int)(bus->ranges[next]->base - addr);
	vmm_probe(bus->probe, VMM_AT_BUS, NULL, bus->name, addr, cut.len);
	return cut;
}

/* The first call that an access of len bytes at addr becomes. */
static struct cut cut_first(const struct vmm_bus *bus, uint64_t addr, unsigned int len)
{
	const struct vmm_range *range = vmm_bus_find(bus, addr);
	struct cut cut = { .range = range };
	uint64_t left;

	if (!range)
		return cut_nothing(bus, addr, len);
	cut.offset = addr - range->base;
	left = range->size - cut.offset;
	if (len > left)
		len = (unsigned int)left;
	cut.size = range->ops->max_size;
	while (cut.size > len || cut.offset % cut.size)
		cut.size /= 2;
	cut.len = cut.size;
	if (cut.size < range->ops->min_size) {
		cut.size = range->ops->min_size;
		cut.skip = (unsigned int)(cut.offset % cut.size);
		cut.offset -= cut.skip;
		cut.len = cut.size - cut.skip < len ? cut.size - cut.skip : len;
	}
	vmm_probe(bus->probe, VMM_AT_BUS, NULL, range->name, cut.offset, cut.size);
	return cut;
}

static void get_bytes(uint8_t *bytes, uint64_t value, unsigned int skip, unsigned int len)
{
	for (unsigned int i = 0; i < len; i++)
		bytes[i] = (uint8_t)(value >> (8 * (skip + i)));
}

static uint64_t put_bytes(uint64_t value, const uint8_t *bytes, unsigned int skip, unsigned int len)
{
	for (unsigned int i = 0; i < len; i++) {
		unsigned int shift = 8 * (skip + i);

		value = (value & ~(UINT64_C(0xff) << shift)) | (uint64_t)bytes[i] << shift;
	}
	return value;
}

/* Whether the access goes on behind the last address, where nobody is. */
static bool is_at_end(uint64_t addr, unsigned int done)
{
	return done > UINT64_MAX - addr;
}

void vmm_bus_read(struct vmm_bus *bus, uint64_t addr, void *data, unsigned int len)
{
	uint8_t *bytes = data;
	unsigned int done = 0;

	memset(bytes, 0xff, len);
	while (done < len && !is_at_end(addr, done)) {
		struct cut cut = cut_first(bus, addr + done, len - done);

		if (cut.range) {
			const struct vmm_range *range = cut.range;
			uint64_t value = range->ops->read(range->arg, cut.offset, cut.size);

			get_bytes(bytes + done, value, cut.skip, cut.len);
		}
		done += cut.len;
	}
}

static void write_cut(struct vmm_bus *bus, const struct cut *cut, uint64_t addr,
		      const uint8_t *bytes)
{
	const struct vmm_range *range = cut->range;
	const struct vmm_range_ops *ops = range->ops;
	void *arg = range->arg;
	uint64_t value = 0;

	if (cut->len < cut->size) {
		value = ops->read(arg, cut->offset, cut->size) & UINT64_MAX >> (64 - 8 * cut->size);
		/* Reading may have sent the range away. */
		if (vmm_bus_find(bus, addr) != range)
			return;
	}
	ops->write(arg, cut->offset, cut->size, put_bytes(value, bytes, cut->skip, cut->len));
}

void vmm_bus_write(struct vmm_bus *bus, uint64_t addr, const void *data, unsigned int len)
{
	const uint8_t *bytes = data;
	unsigned int done = 0;

	/* A write may move or remove any range, its own too: who is there is asked again each time. */
	while (done < len && !is_at_end(addr, done)) {
		struct cut cut = cut_first(bus, addr + done, len - done);

		if (cut.range)
			write_cut(bus, &cut, addr + done, bytes + done);
		done += cut.len;
	}
}
