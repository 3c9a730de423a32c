/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* timeout: 300 */
/*
 * A block device of vmm/ between a guest's driver and a backend: the configuration that is the
 * backend's, requests, resets, and backends that die and come back.
 */
#include <unistd.h>
#include <vhu/local.h>
#include <vmm/virtio_blk.h>

#include "vmm_guest.h"

#define BLK_MQ VHU_MASK(12)
#define BLK_WCE VHU_MASK(11)
#define BLK_FLUSH VHU_MASK(9)
#define PACKED VHU_MASK(VHU_F_RING_PACKED_BIT)
#define LIES (LIAR_FEATURES | BLK_MQ | BLK_WCE | BLK_FLUSH)

enum {
	QUEUES = 4,
	SECTOR = 512,
	SECTORS = 64,
	/* virtio 1.2, 5.2.4 and 5.2.6 */
	CONFIG_SIZE = 60,
	WRITEBACK_AT = 32,
	NUM_QUEUES_AT = 34,
	T_IN = 0,
	T_OUT = 1,
	S_OK = 0,
	S_IOERR = 1,
	S_UNSET = 0xee,
	HEADER = 16,
	PLACE = HEADER + SECTOR + 1,
};

/* Device, driver, and a backend: a liar that says what it should, with rings served by the test. */
struct disk {
	struct guest guest;
	struct vmm_blk *blk;
	struct liar liar;
	struct tally before;

	/* The guest's driver. */
	unsigned int queues;
	struct vhu_driver *driver[QUEUES];
	uint64_t gpa[QUEUES];
	uint8_t *at[QUEUES]; /* a request: header, sector, status */

	/* The backend. */
	struct vhu_local *local[QUEUES];
	unsigned int connection; /* that the rings are served for */
	bool hold;
	uint8_t sectors[SECTORS][SECTOR];
	unsigned int served;
};

static int process_blk(void *arg)
{
	return vmm_blk_process(arg);
}

static struct disk *disk_new(const struct vmm_blk_options *options, const struct liar_options *lies)
{
	struct disk *disk = calloc(1, sizeof(*disk));
	struct liar_options l = { .features = LIES };
	struct vmm_blk_options o = *options;
	char text[VMM_TEXT] = "";

	assert_non_null(disk);
	tally_take(&disk->before);
	if (lies)
		l = *lies;
	liar_init(&disk->liar, &l);
	for (unsigned int i = 0; i < CONFIG_SIZE; i++)
		disk->liar.config[i] = (uint8_t)(i + 1);
	guest_init(&disk->guest);
	disk->queues = o.queues ? o.queues : 1;
	o.name = "blk0";
	o.memory = disk->guest.memory;
	o.path = disk->liar.path;
	o.say = guest_hear;
	o.say_arg = &disk->guest;
	if (vmm_blk_new(&disk->blk, &o, text))
		fail_msg("vmm_blk_new: %s", text);
	guest_attach(&disk->guest, vmm_blk_device(disk->blk), vmm_blk_fd(disk->blk), process_blk,
		     disk->blk);
	assert_int_equal(vmm_blk_attach(disk->blk, &disk->guest.virtio), 0);
	for (unsigned int i = 0; i < QUEUES; i++)
		assert_int_equal(vhu_local_new(&disk->local[i], disk->guest.memory), 0);
	return disk;
}

/* The configuration is there. */
static struct disk *disk_up(const struct vmm_blk_options *options, const struct liar_options *lies)
{
	struct disk *disk = disk_new(options, lies);
	char text[VMM_TEXT] = "";

	liar_begin_thread(&disk->liar);
	if (vmm_blk_wait(disk->blk, CHECK_PATIENCE_MS, text))
		fail_msg("vmm_blk_wait: %s", text);
	liar_end_thread(&disk->liar);
	return disk;
}

static void disk_free(struct disk *disk)
{
	vmm_blk_free(disk->blk);
	for (unsigned int i = 0; i < QUEUES; i++) {
		vhu_local_free(disk->local[i]);
		vhu_driver_free(disk->driver[i]);
	}
	guest_fini(&disk->guest);
	liar_free(&disk->liar);
	disk->before.heap = SIZE_MAX;
	tally_check(&disk->before);
	free(disk);
}

/*
 * ---- The backend's rings ----
 */
static void serve_one(struct disk *disk, const struct vhu_local_chain *chain,
		      struct vhu_local *local)
{
	uint8_t header[HEADER], status = S_IOERR;
	uint32_t type;
	uint64_t sector;

	assert_int_equal(vhu_local_read(chain, 0, header, HEADER), HEADER);
	memcpy(&type, header, 4);
	memcpy(&sector, header + 8, 8);
	if (sector < SECTORS && type == T_OUT) {
		assert_int_equal(vhu_local_read(chain, HEADER, disk->sectors[sector], SECTOR),
				 SECTOR);
		status = S_OK;
	} else if (sector < SECTORS && type == T_IN) {
		vhu_local_write(chain, 0, disk->sectors[sector], SECTOR);
		status = S_OK;
	}
	/* the last byte, whatever else there is (5.2.6) */
	assert_int_equal(vhu_local_write(chain, chain->write_len - 1, &status, 1), 1);
	vhu_local_push(local, chain->write_len);
	disk->served++;
}

static void start_ring(struct disk *disk, unsigned int i)
{
	const struct liar_ring *ring = &disk->liar.ring[i];
	struct vhu_local_ring r = { .size = sizeof(r),
				    .num = ring->num,
				    .addr = { liar_gpa(&disk->liar, ring->addr.desc),
					      liar_gpa(&disk->liar, ring->addr.avail),
					      liar_gpa(&disk->liar, ring->addr.used) },
				    .features = disk->liar.features,
				    .go_on = true,
				    .base = ring->base,
				    .call_fd = -1 /* it is told another now and then */ };
	struct vhu_reason why;

	if (vhu_local_start(disk->local[i], &r, &why))
		fail_msg("%s", why.text);
}

static bool backend_round(struct disk *disk)
{
	struct vhu_local_chain chain;
	struct vhu_reason why;
	bool busy = false;

	for (unsigned int i = 0; i < QUEUES; i++) {
		struct liar_ring *ring = &disk->liar.ring[i];
		bool runs = vhu_queue_is_running(vhu_local_queue(disk->local[i]));

		/* what the last one was told is nothing to the next */
		if (runs && (!ring->started || disk->liar.sock < 0 ||
			     disk->connection != disk->liar.connections)) {
			vhu_local_stop(disk->local[i]);
			runs = false;
		}
		if (!ring->started || !ring->enabled || disk->hold || disk->liar.sock < 0)
			continue;
		if (!runs)
			start_ring(disk, i);
		while (vhu_local_pop(disk->local[i], &chain) > 0) {
			serve_one(disk, &chain, disk->local[i]);
			liar_call(&disk->liar, i);
			busy = true;
		}
		if (vhu_local_fault(disk->local[i], &why))
			fail_msg("queue %u: %s", i, why.text);
		ring->base = vhu_local_base(disk->local[i]);
	}
	disk->connection = disk->liar.connections;
	return busy;
}

static bool pump(struct disk *disk)
{
	bool busy = guest_pump(&disk->guest);

	return backend_round(disk) || busy;
}

#define disk_until(disk, cond)                                                                     \
	do {                                                                                       \
		if (!check_until(pump(disk), cond))                                                \
			fail_msg("not so: %s; heard:\n%s", #cond, (disk)->guest.texts);            \
	} while (0)

/*
 * ---- The guest's driver ----
 */
static void start(struct disk *disk, uint64_t not_wanted)
{
	struct guest *guest = &disk->guest;
	struct vhu_driver_options options = {
		.size = sizeof(options), .memory = guest->memory, .num = 64, .indirect_max = 4
	};

	assert_true(guest_accept(guest, guest_offer(guest) & ~not_wanted));
	options.features = guest->virtio.features;
	vhu_memory_alloc_reset(guest->memory);
	for (unsigned int i = 0; i < disk->queues; i++) {
		vhu_driver_free(disk->driver[i]);
		disk->driver[i] = NULL;
		assert_int_equal(vhu_driver_new(&disk->driver[i], &options), 0);
		disk->at[i] = vhu_memory_alloc(guest->memory, PLACE, 64, &disk->gpa[i]);
		guest_set_queue(guest, i, disk->driver[i]);
		guest_enable(guest, i);
	}
	guest_driver_ok(guest);
}

static void ask(struct disk *disk, unsigned int queue, uint32_t type, uint64_t sector)
{
	uint64_t gpa = disk->gpa[queue];
	const struct vhu_buffer pieces[] = { { gpa, HEADER },
					     { gpa + HEADER, SECTOR },
					     { gpa + HEADER + SECTOR, 1 } };
	uint8_t *at = disk->at[queue];

	memset(at, 0, HEADER);
	memcpy(at, &type, 4);
	memcpy(at + 8, &sector, 8);
	at[HEADER + SECTOR] = S_UNSET;
	assert_int_equal(vhu_driver_add(disk->driver[queue], pieces, type == T_OUT ? 2 : 1,
					type == T_OUT ? 1 : 2, queue),
			 0);
	vhu_driver_publish(disk->driver[queue]);
}

static uint8_t wait_status(struct disk *disk, unsigned int queue)
{
	struct vhu_used used = { 0 };

	disk_until(disk, vhu_driver_take(disk->driver[queue], &used) == 1);
	assert_int_equal(used.token, queue);
	return disk->at[queue][HEADER + SECTOR];
}

/* Writes a sector by each queue, and reads it by the next. */
static void use(struct disk *disk, uint8_t seed)
{
	for (unsigned int i = 0; i < disk->queues; i++) {
		unsigned int other = (i + 1) % disk->queues;

		memset(disk->at[i] + HEADER, seed + (int)i, SECTOR);
		ask(disk, i, T_OUT, seed % 32 + i);
		assert_int_equal(wait_status(disk, i), S_OK);
		memset(disk->at[other] + HEADER, 0, SECTOR);
		ask(disk, other, T_IN, seed % 32 + i);
		assert_int_equal(wait_status(disk, other), S_OK);
		for (unsigned int k = 0; k < SECTOR; k++)
			assert_int_equal(disk->at[other][HEADER + k], (uint8_t)(seed + i));
	}
	ask(disk, 0, T_IN, SECTORS);
	assert_int_equal(wait_status(disk, 0), S_IOERR);
}

static void requests_pass_before_and_after_a_reset(void **state)
{
	static const uint64_t not_wanted[] = { 0, PACKED, VHU_MASK(VHU_F_INDIRECT_DESC_BIT),
					       PACKED | VHU_MASK(VHU_F_EVENT_IDX_BIT) };
	const struct vmm_blk_options options = { .packed = true, .queues = QUEUES };

	(void)state;
	for (unsigned int i = 0; i < 4; i++) {
		struct disk *disk = disk_up(&options, NULL);

		for (unsigned int turn = 0; turn < 4; turn++) {
			start(disk, not_wanted[i]);
			use(disk, (uint8_t)(1 + turn));
			assert_true(guest_calls(&disk->guest, 0) > 0);
			guest_reset(&disk->guest);
			for (unsigned int k = 0; k < QUEUES; k++)
				assert_false(disk->liar.ring[k].started);
			backend_round(disk);
		}
		assert_int_equal(disk->guest.needs_resets, 0);
		disk_free(disk);
	}
}

static void what_was_asked_is_served_by_the_next_backend(void **state)
{
	const struct vmm_blk_options options = { 0 };
	struct disk *disk = disk_up(&options, NULL);

	(void)state;
	start(disk, PACKED);
	use(disk, 5);
	for (unsigned int turn = 0; turn < 5; turn++) {
		disk->hold = true;
		memset(disk->at[0] + HEADER, 0xa0 + (int)turn, SECTOR);
		ask(disk, 0, T_OUT, turn);
		for (unsigned int i = 0; i < 20; i++)
			pump(disk);
		liar_hang_up(&disk->liar);
		disk->hold = false;
		assert_int_equal(wait_status(disk, 0), S_OK);
		assert_int_equal(disk->sectors[turn][7], 0xa0 + turn);
		use(disk, (uint8_t)(10 + turn));
	}
	assert_int_equal(disk->guest.needs_resets, 0);
	guest_check_heard(&disk->guest, "the backend is back");
	disk_free(disk);
}

static void the_configuration_is_the_backends_but_for_the_queues(void **state)
{
	const struct vmm_blk_options options = { .queues = 3 };
	struct disk *disk = disk_up(&options, NULL);
	uint8_t config[CONFIG_SIZE], end[8];

	(void)state;
	guest_read_config(&disk->guest, 0, config, sizeof(config));
	for (unsigned int i = 0; i < CONFIG_SIZE; i++) {
		if (i != NUM_QUEUES_AT && i != NUM_QUEUES_AT + 1)
			assert_int_equal(config[i], i + 1);
	}
	assert_int_equal(config[NUM_QUEUES_AT], 3);
	assert_int_equal(config[NUM_QUEUES_AT + 1], 0);
	/* beyond its end there is nothing */
	guest_read_config(&disk->guest, CONFIG_SIZE - 1, end, 2);
	assert_int_equal(end[0], CONFIG_SIZE);
	assert_int_equal(end[1], 0);
	guest_read_config(&disk->guest, UINT32_MAX - 3, end, 4);
	disk_free(disk);
}

static void a_change_of_the_configuration_is_passed_on(void **state)
{
	const struct vmm_blk_options options = { 0 };
	struct disk *disk = disk_up(&options, NULL);
	uint8_t first;

	(void)state;
	start(disk, 0);
	use(disk, 1);
	for (unsigned int turn = 0; turn < 3; turn++) {
		unsigned int changes = disk->guest.config_changes;

		disk->liar.config[0] = (uint8_t)(100 + turn);
		/* told; and, of a backend that comes back, found */
		if (turn < 2)
			liar_say(disk->liar.channel, VHU_BACKEND_CONFIG_CHANGE, VHU_MSG_VERSION,
				 NULL, 0, NULL, 0);
		else
			liar_hang_up(&disk->liar);
		disk_until(disk, disk->guest.config_changes == changes + 1);
		guest_read_config(&disk->guest, 0, &first, 1);
		assert_int_equal(first, 100 + turn);
	}
	/* one that changes nothing is none */
	unsigned int changes = disk->guest.config_changes;
	unsigned int asked = liar_count(&disk->liar, VHU_GET_CONFIG, 0);

	disk_until(disk, disk->liar.channel >= 0);
	liar_say(disk->liar.channel, VHU_BACKEND_CONFIG_CHANGE, VHU_MSG_VERSION, NULL, 0, NULL, 0);
	disk_until(disk, liar_count(&disk->liar, VHU_GET_CONFIG, 0) == asked + 1);
	use(disk, 2);
	assert_int_equal(disk->guest.config_changes, changes);
	disk_free(disk);
}

static void writeback_is_all_that_the_guest_can_write(void **state)
{
	const struct vmm_blk_options options = { 0 };
	struct disk *disk = disk_up(&options, NULL);
	const struct vmm_virtio_device *device = vmm_blk_device(disk->blk);
	uint8_t bytes[8] = { 0 }, now;

	(void)state;
	start(disk, 0);
	for (unsigned int at = 0; at < CONFIG_SIZE + 8; at++) {
		for (unsigned int size = 1; size <= 8; size *= 2)
			device->ops->config_write(device->arg, at, bytes, size);
	}
	use(disk, 1);
	disk_until(disk, liar_count(&disk->liar, VHU_SET_CONFIG, 0) == 1);
	assert_int_equal(disk->liar.config[WRITEBACK_AT], 0);
	guest_read_config(&disk->guest, WRITEBACK_AT, &now, 1);
	assert_int_equal(now, 0);
	guest_reset(&disk->guest);
	/* asked for, and not agreed yet */
	disk->guest.virtio.features = BLK_WCE;
	device->ops->config_write(device->arg, WRITEBACK_AT, bytes, 1);
	start(disk, BLK_WCE);
	device->ops->config_write(device->arg, WRITEBACK_AT, bytes, 1);
	use(disk, 1);
	assert_int_equal(liar_count(&disk->liar, VHU_SET_CONFIG, 0), 1);
	disk_free(disk);
}

static void a_guest_that_writes_all_the_time_has_few_messages_wait(void **state)
{
	const struct vmm_blk_options options = { 0 };
	struct disk *disk = disk_up(&options, NULL);
	const struct vmm_virtio_device *device = vmm_blk_device(disk->blk);

	(void)state;
	start(disk, 0);
	use(disk, 1);
	disk->liar.config[WRITEBACK_AT] = 0xff;
	for (unsigned int i = 0; i < 1000; i++) {
		const uint8_t value = i % 2;

		device->ops->config_write(device->arg, WRITEBACK_AT, &value, 1);
	}
	disk_until(disk, disk->liar.config[WRITEBACK_AT] == 1);
	use(disk, 2);
	assert_int_equal(liar_count(&disk->liar, VHU_SET_CONFIG, 0), 2);
	/* a backend that goes meanwhile leaves nobody waiting */
	device->ops->config_write(device->arg, WRITEBACK_AT, (const uint8_t[]){ 0 }, 1);
	device->ops->config_write(device->arg, WRITEBACK_AT, (const uint8_t[]){ 0 }, 1);
	liar_hang_up(&disk->liar);
	use(disk, 3);
	disk->liar.config[WRITEBACK_AT] = 0xff;
	device->ops->config_write(device->arg, WRITEBACK_AT, (const uint8_t[]){ 1 }, 1);
	disk_until(disk, disk->liar.config[WRITEBACK_AT] == 1);
	disk_free(disk);
}

static void waiting_for_a_backend_of_no_use_says_why(void **state)
{
	static const struct {
		struct liar_options lies;
		unsigned int queues;
		int err;
		const char *why;
	} cases[] = {
		{ { .features = LIES, .queue_num = 2 }, 3, -EOPNOTSUPP, "has 2 queues" },
		{ { .features = LIES, .no_protocol_features = VHU_MASK(VHU_P_CONFIG_BIT) },
		  1,
		  -EOPNOTSUPP,
		  "no configuration" },
		{ { .no_features = VHU_MASK(VHU_F_VERSION_1_BIT) }, 1, -ETIMEDOUT, "VERSION_1" },
		{ { .no_listen = true }, 1, -ETIMEDOUT, "no backend has answered" },
	};
	struct vmm_blk *blk;

	(void)state;
	for (unsigned int i = 0; i < 4; i++) {
		const struct vmm_blk_options options = { .queues = cases[i].queues };
		struct disk *disk = disk_new(&options, &cases[i].lies);
		char text[VMM_TEXT] = "";

		liar_begin_thread(&disk->liar);
		assert_int_equal(vmm_blk_wait(disk->blk, cases[i].err == -ETIMEDOUT ? 300 : 20000,
					      text),
				 cases[i].err);
		if (!strstr(text, cases[i].why))
			fail_msg("no \"%s\" in: %s", cases[i].why, text);
		liar_end_thread(&disk->liar);
		for (unsigned int k = 0; k < 2; k++) {
			const struct vmm_blk_options bad = { .name = "blk0",
							     .memory = disk->guest.memory,
							     .path = "/nowhere",
							     .queues = k ? 1 : 65,
							     .queue_size = k ? 100 : 0 };

			assert_int_equal(vmm_blk_new(&blk, &bad, text), -EINVAL);
		}
		disk_free(disk);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_pass_before_and_after_a_reset),
		cmocka_unit_test(what_was_asked_is_served_by_the_next_backend),
		cmocka_unit_test(the_configuration_is_the_backends_but_for_the_queues),
		cmocka_unit_test(a_change_of_the_configuration_is_passed_on),
		cmocka_unit_test(writeback_is_all_that_the_guest_can_write),
		cmocka_unit_test(a_guest_that_writes_all_the_time_has_few_messages_wait),
		cmocka_unit_test(waiting_for_a_backend_of_no_use_says_why),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
