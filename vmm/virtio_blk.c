// SPDX-License-Identifier: MIT
/*
 * The block device: its features, and its configuration, which is read from the backend when it
 * comes and when it says that something changed, and kept here for the guest to read.
 */
#include <vmm/virtio_blk.h>

#include <endian.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/vhost.h>

/* virtio 1.2, 5.2.3 */
enum {
	F_SIZE_MAX_BIT = 1,
	F_SEG_MAX_BIT = 2,
	F_GEOMETRY_BIT = 4,
	F_RO_BIT = 5,
	F_BLK_SIZE_BIT = 6,
	F_FLUSH_BIT = 9,
	F_TOPOLOGY_BIT = 10,
	F_CONFIG_WCE_BIT = 11,
	F_MQ_BIT = 12,
	F_DISCARD_BIT = 13,
	F_WRITE_ZEROES_BIT = 14,

	/* 5.2.4: capacity to write_zeroes_may_unmap, and three bytes that fill up */
	CONFIG_SIZE = 60,
	WRITEBACK_AT = 32,
	NUM_QUEUES_AT = 34,

	PCI_MASS_STORAGE = 0x018000,
	ID_BLOCK = 2,
};

#define OF_BACKEND                                                                                 \
	(VHU_MASK(F_SIZE_MAX_BIT) | VHU_MASK(F_SEG_MAX_BIT) | VHU_MASK(F_GEOMETRY_BIT) |           \
	 VHU_MASK(F_RO_BIT) | VHU_MASK(F_BLK_SIZE_BIT) | VHU_MASK(F_FLUSH_BIT) |                   \
	 VHU_MASK(F_TOPOLOGY_BIT) | VHU_MASK(F_CONFIG_WCE_BIT) | VHU_MASK(F_MQ_BIT) |              \
	 VHU_MASK(F_DISCARD_BIT) | VHU_MASK(F_WRITE_ZEROES_BIT) |                                  \
	 VHU_MASK(VHU_F_INDIRECT_DESC_BIT) | VHU_MASK(VHU_F_EVENT_IDX_BIT) |                       \
	 VHU_MASK(VHU_F_VERSION_1_BIT) | VHU_MASK(VHU_F_IN_ORDER_BIT) |                            \
	 VHU_MASK(VHU_F_ORDER_PLATFORM_BIT) | VHU_MASK(VHU_F_RING_PACKED_BIT))

#define OF_TRANSPORT (VHU_MASK(VHU_F_VERSION_1_BIT) | VHU_MASK(VHU_F_ACCESS_PLATFORM_BIT))

struct vmm_blk {
	struct vmm_blk_options o;
	struct vmm_virtio_device device;
	uint16_t max_num[VMM_BLK_MAX_QUEUES];
	struct vmm_virtio *virtio;
	struct vmm_vhost *vhost;
	bool has_config;
	bool is_asked; /* for the configuration, and no answer yet */
	bool ask_again;
	bool is_telling; /* the backend of a writeback, and no answer yet */
	bool tell_again;
	uint8_t writeback; /* as the guest wrote it last */
	uint8_t config[CONFIG_SIZE];
};

/* ---- features and configuration ---- */

static uint64_t features(void *arg)
{
	const struct vmm_blk *blk = arg;
	uint64_t offered = vmm_vhost_offered(blk->vhost) & OF_BACKEND;

	if (blk->o.queues == 1)
		offered &= ~VHU_MASK(F_MQ_BIT);
	if (!blk->o.packed)
		offered &= ~VHU_MASK(VHU_F_RING_PACKED_BIT);
	return offered & ~blk->o.features_off;
}

static bool accept(void *arg, uint64_t wanted)
{
	return !(wanted & ~(features(arg) | OF_TRANSPORT));
}

static void config_read(void *arg, unsigned int offset, void *data, unsigned int size)
{
	const struct vmm_blk *blk = arg;

	memset(data, 0, size);
	if (offset < CONFIG_SIZE)
		memcpy(data, blk->config + offset,
		       size < CONFIG_SIZE - offset ? size : CONFIG_SIZE - offset);
}

static void writeback_told(void *arg, int err, const struct vhu_answer *answer);

/* One message at a time: a guest writes faster than any backend answers, and the last write counts. */
static int tell_writeback(struct vmm_blk *blk)
{
	int err = 0;

	blk->tell_again = blk->is_telling;
	if (!blk->is_telling)
		err = vhu_frontend_set_config(vmm_vhost_frontend(blk->vhost), WRITEBACK_AT,
					      &blk->writeback, 1, 0, writeback_told, blk);
	if (!err)
		blk->is_telling = true;
	return err;
}

static void writeback_told(void *arg, int err, const struct vhu_answer *answer)
{
	struct vmm_blk *blk = arg;

	(void)err, (void)answer; /* refused or gone: its configuration is read again */
	blk->is_telling = false;
	if (blk->tell_again)
		tell_writeback(blk);
}

/* 5.2.4: writeback is the one field that the driver may write. */
static void config_write(void *arg, unsigned int offset, const void *data, unsigned int size)
{
	struct vmm_blk *blk = arg;

	/* what the driver asks for is agreed only once FEATURES_OK is set */
	if (offset != WRITEBACK_AT || size != 1 ||
	    !(blk->virtio->status & VIRTIO_CONFIG_S_FEATURES_OK) ||
	    !(blk->virtio->features & VHU_MASK(F_CONFIG_WCE_BIT)))
		return;
	blk->writeback = *(const uint8_t *)data != 0;
	if (!tell_writeback(blk))
		blk->config[WRITEBACK_AT] = blk->writeback;
}

static void ask_config(struct vmm_blk *blk);

static void config_came(void *arg, int err, const struct vhu_answer *answer)
{
	struct vmm_blk *blk = arg;
	const uint16_t queues = htole16((uint16_t)blk->o.queues);
	uint8_t config[CONFIG_SIZE];

	blk->is_asked = false;
	if (!err && answer->size == CONFIG_SIZE) {
		memcpy(config, answer->bytes, CONFIG_SIZE);
		/* as many as we have, which are not more than it has: see vmm_blk_wait() */
		memcpy(config + NUM_QUEUES_AT, &queues, sizeof(queues));
		if (blk->has_config && blk->virtio &&
		    memcmp(config, blk->config, CONFIG_SIZE) != 0) {
			memcpy(blk->config, config, CONFIG_SIZE);
			vmm_virtio_config_changed(blk->virtio);
		}
		memcpy(blk->config, config, CONFIG_SIZE);
		blk->has_config = true;
	}
	if (blk->ask_again)
		ask_config(blk);
}

/* Also while an answer is under way: what it says may be older than the change. */
static void ask_config(struct vmm_blk *blk)
{
	blk->ask_again = blk->is_asked;
	if (blk->is_asked)
		return;
	blk->is_asked = vhu_frontend_get_config(vmm_vhost_frontend(blk->vhost), 0, CONFIG_SIZE,
						config_came, blk) == 0;
}

static void on_news(void *arg)
{
	ask_config(arg);
}

static const struct vmm_vhost_ops vhost_ops = { .greeted = on_news, .config_changed = on_news };

/* ---- orders of the transport ---- */

static void start(void *arg)
{
	struct vmm_blk *blk = arg;
	unsigned int queues = blk->virtio->features & VHU_MASK(F_MQ_BIT) ? blk->o.queues : 1;

	vmm_vhost_start(blk->vhost, blk->virtio->features & OF_BACKEND, queues, queues);
}

static void queue_enabled(void *arg, unsigned int queue)
{
	struct vmm_blk *blk = arg;

	vmm_vhost_queue_enabled(blk->vhost, queue);
}

static bool stop(void *arg)
{
	struct vmm_blk *blk = arg;

	return vmm_vhost_stop(blk->vhost);
}

static const struct vmm_virtio_ops virtio_ops = {
	.features = features,
	.accept = accept,
	.start = start,
	.queue_enabled = queue_enabled,
	.stop = stop,
	.config_read = config_read,
	.config_write = config_write,
};

/* ---- the device thread ---- */

int vmm_blk_fd(const struct vmm_blk *blk)
{
	return vmm_vhost_fd(blk->vhost);
}

int vmm_blk_process(struct vmm_blk *blk)
{
	return vmm_vhost_process(blk->vhost);
}

int vmm_blk_wait(struct vmm_blk *blk, int timeout_ms, char text[VMM_TEXT])
{
	int err = vmm_vhost_wait(blk->vhost, timeout_ms, text);

	if (err)
		return err;
	if (!blk->has_config) {
		snprintf(text, VMM_TEXT, "%.100s: the backend gives no configuration (CONFIG)",
			 blk->o.path);
		return -EOPNOTSUPP;
	}
	return vmm_vhost_has_queues(blk->vhost, blk->o.queues, "queues", text);
}

/* ---- made and freed ---- */

static int judge(struct vmm_blk_options *o, char text[VMM_TEXT])
{
	if (!o->queues)
		o->queues = 1;
	if (!o->queue_size)
		o->queue_size = VMM_BLK_QUEUE_SIZE;
	if (o->queues > VMM_BLK_MAX_QUEUES) {
		snprintf(text, VMM_TEXT, "%u queues, must be 1 to %d", o->queues,
			 VMM_BLK_MAX_QUEUES);
		return -EINVAL;
	}
	return vmm_vhost_judge_queue_size(o->queue_size, text);
}

int vmm_blk_new(struct vmm_blk **ret_blk, const struct vmm_blk_options *options,
		char text[VMM_TEXT])
{
	struct vmm_vhost_options vo = {
		.name = options->name,
		.memory = options->memory,
		.path = options->path,
		.server = options->server,
		.features = OF_BACKEND,
		.protocol_features = VHU_FRONTEND_PROTOCOL_FEATURES &
				     ~(VHU_MASK(VHU_P_RARP_BIT) | VHU_MASK(VHU_P_NET_MTU_BIT) |
				       VHU_MASK(VHU_P_LOG_SHMFD_BIT)),
		.reply_timeout_ms = options->reply_timeout_ms,
		.mask_by_message = options->mask_by_message,
		.probe = options->probe,
		.say = options->say,
		.say_arg = options->say_arg,
		.ops = &vhost_ops,
	};
	struct vmm_blk *blk = calloc(1, sizeof(*blk));
	int err;

	if (!blk) {
		snprintf(text, VMM_TEXT, "out of memory");
		return -ENOMEM;
	}
	blk->o = *options;
	err = judge(&blk->o, text);
	if (err)
		goto fail;
	for (unsigned int i = 0; i < blk->o.queues; i++)
		blk->max_num[i] = (uint16_t)blk->o.queue_size;
	blk->device = (struct vmm_virtio_device){
		.name = blk->o.name,
		.id = ID_BLOCK,
		.class_code = PCI_MASS_STORAGE,
		.nr_queues = blk->o.queues,
		.max_num = blk->max_num,
		.config_size = CONFIG_SIZE,
		.ops = &virtio_ops,
		.arg = blk,
	};
	vo.nr_rings = blk->o.queues;
	vo.arg = blk;
	err = vmm_vhost_new(&blk->vhost, &vo, text);
	if (err)
		goto fail;
	*ret_blk = blk;
	return 0;
fail:
	free(blk);
	return err;
}

void vmm_blk_free(struct vmm_blk *blk)
{
	if (!blk)
		return;
	vmm_vhost_free(blk->vhost);
	free(blk);
}

const struct vmm_virtio_device *vmm_blk_device(struct vmm_blk *blk)
{
	return &blk->device;
}

int vmm_blk_attach(struct vmm_blk *blk, struct vmm_virtio *virtio)
{
	blk->virtio = virtio;
	vmm_vhost_attach(blk->vhost, virtio);
	return 0;
}

const struct vmm_irq *vmm_blk_irq(struct vmm_blk *blk, const struct vmm_irq *irq)
{
	return vmm_vhost_irq(blk->vhost, irq);
}
