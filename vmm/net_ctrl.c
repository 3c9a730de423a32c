// SPDX-License-Identifier: MIT
/*
 * Commands of the control queue. Each is in guest memory, which may change under our eyes: every
 * byte of it is read once. What stands in a command decides nothing but what is remembered here and
 * what is asked of set_pairs().
 */
#include <vmm/net_ctrl.h>

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* virtio 1.2, 5.1.6.5 */
enum {
	ACK_OK = 0,
	ACK_ERR = 1,

	CLASS_RX = 0,
	RX_PROMISC = 0,
	RX_ALLMULTI = 1,
	RX_ALLUNI = 2,
	RX_NOMULTI = 3,
	RX_NOUNI = 4,
	RX_NOBCAST = 5,

	CLASS_MAC = 1,
	MAC_TABLE_SET = 0,
	MAC_ADDR_SET = 1,

	CLASS_VLAN = 2,
	VLAN_ADD = 0,
	VLAN_DEL = 1,
	VLANS = 4096,

	CLASS_ANNOUNCE = 3,
	ANNOUNCE_ACK = 0,

	CLASS_MQ = 4,
	MQ_VQ_PAIRS_SET = 0,

	HEADER_LEN = 2, /* class, command */
	MAC_LEN = 6,
};

enum outcome {
	REFUSED,
	DONE,
	LATER,
};

struct vmm_net_ctrl {
	const struct vmm_net_ctrl_ops *ops;
	void *arg;
	struct vhu_local *local;
	struct vhu_local_chain chain; /* the one in hand while is_pending */
	bool is_pending;
	unsigned int pending_pairs;

	uint64_t features;
	unsigned int max_pairs;
	struct vmm_net_filter filter;
	uint8_t unicast[VMM_NET_MACS_MAX][MAC_LEN], multicast[VMM_NET_MACS_MAX][MAC_LEN];
	uint64_t vlans[VLANS / 64];
};

/* A command: its class and number, and what follows them, still in the guest's memory. */
struct command {
	uint8_t class, number;
	const struct vhu_local_chain *chain;
	uint32_t len; /* of what follows */
};

static bool agreed(const struct vmm_net_ctrl *ctrl, unsigned int bit)
{
	return ctrl->features & VHU_MASK(bit);
}

/* Reads all that follows, which has to be len bytes. False: it is not. */
static bool read_all(const struct command *command, void *to, uint32_t len)
{
	return command->len == len && vhu_local_read(command->chain, HEADER_LEN, to, len) == len;
}

static enum outcome set_rx_mode(struct vmm_net_ctrl *ctrl, const struct command *command)
{
	bool *const modes[] = {
		[RX_PROMISC] = &ctrl->filter.promisc, [RX_ALLMULTI] = &ctrl->filter.allmulti,
		[RX_ALLUNI] = &ctrl->filter.alluni,   [RX_NOMULTI] = &ctrl->filter.nomulti,
		[RX_NOUNI] = &ctrl->filter.nouni,     [RX_NOBCAST] = &ctrl->filter.nobcast,
	};
	unsigned int bit = command->number <= RX_ALLMULTI ? VHU_NET_F_CTRL_RX_BIT :
							    VMM_NET_F_CTRL_RX_EXTRA_BIT;
	uint8_t on;

	if (command->number >= sizeof(modes) / sizeof(modes[0]) || !agreed(ctrl, bit) ||
	    !read_all(command, &on, sizeof(on)))
		return REFUSED;
	*modes[command->number] = on;
	return DONE;
}

/* One of the two tables, at *at of what follows; moves *at behind it. False: it is cut off. */
static bool read_table(const struct command *command, uint64_t *at,
		       uint8_t table[VMM_NET_MACS_MAX][MAC_LEN], uint32_t *ret_nr)
{
	uint32_t nr, kept;

	if (*at > command->len || command->len - *at < sizeof(nr))
		return false;
	vhu_local_read(command->chain, (uint32_t)(HEADER_LEN + *at), &nr, sizeof(nr));
	nr = le32toh(nr);
	*at += sizeof(nr);
	if ((uint64_t)nr * MAC_LEN > command->len - *at)
		return false;
	kept = nr <= VMM_NET_MACS_MAX ? nr : 0;
	vhu_local_read(command->chain, (uint32_t)(HEADER_LEN + *at), table, kept * MAC_LEN);
	*at += (uint64_t)nr * MAC_LEN;
	*ret_nr = nr <= VMM_NET_MACS_MAX ? nr : UINT32_MAX;
	return true;
}

static enum outcome set_mac_table(struct vmm_net_ctrl *ctrl, const struct command *command)
{
	uint8_t unicast[VMM_NET_MACS_MAX][MAC_LEN] = { 0 };
	uint8_t multicast[VMM_NET_MACS_MAX][MAC_LEN] = { 0 };
	uint32_t nr_unicast, nr_multicast;
	uint64_t at = 0;

	if (!agreed(ctrl, VHU_NET_F_CTRL_RX_BIT) ||
	    !read_table(command, &at, unicast, &nr_unicast) ||
	    !read_table(command, &at, multicast, &nr_multicast) || at != command->len)
		return REFUSED;
	/* both or none */
	memcpy(ctrl->unicast, unicast, sizeof(unicast));
	memcpy(ctrl->multicast, multicast, sizeof(multicast));
	ctrl->filter.nr_unicast = nr_unicast;
	ctrl->filter.nr_multicast = nr_multicast;
	return DONE;
}

static enum outcome set_mac(struct vmm_net_ctrl *ctrl, const struct command *command)
{
	uint8_t mac[MAC_LEN];

	if (command->number == MAC_TABLE_SET)
		return set_mac_table(ctrl, command);
	if (command->number != MAC_ADDR_SET || !agreed(ctrl, VHU_NET_F_CTRL_MAC_ADDR_BIT) ||
	    !read_all(command, mac, sizeof(mac)))
		return REFUSED;
	memcpy(ctrl->filter.mac, mac, sizeof(mac));
	return DONE;
}

static enum outcome set_vlan(struct vmm_net_ctrl *ctrl, const struct command *command)
{
	uint64_t bit, *word;
	uint16_t id;

	if (command->number > VLAN_DEL || !agreed(ctrl, VHU_NET_F_CTRL_VLAN_BIT) ||
	    !read_all(command, &id, sizeof(id)))
		return REFUSED;
	id = le16toh(id);
	if (id >= VLANS)
		return REFUSED;
	word = &ctrl->vlans[id / 64];
	bit = UINT64_C(1) << id % 64;
	if (command->number == VLAN_ADD && !(*word & bit)) {
		*word |= bit;
		ctrl->filter.nr_vlans++;
	} else if (command->number == VLAN_DEL && *word & bit) {
		*word &= ~bit;
		ctrl->filter.nr_vlans--;
	}
	return DONE;
}

static enum outcome announced(struct vmm_net_ctrl *ctrl, const struct command *command)
{
	if (command->number != ANNOUNCE_ACK || !agreed(ctrl, VHU_NET_F_GUEST_ANNOUNCE_BIT) ||
	    command->len)
		return REFUSED;
	ctrl->ops->announced(ctrl->arg);
	return DONE;
}

static enum outcome set_pairs(struct vmm_net_ctrl *ctrl, const struct command *command)
{
	uint16_t pairs;
	int err;

	if (command->number != MQ_VQ_PAIRS_SET || !agreed(ctrl, VHU_NET_F_MQ_BIT) ||
	    !read_all(command, &pairs, sizeof(pairs)))
		return REFUSED;
	pairs = le16toh(pairs);
	if (!pairs || pairs > ctrl->max_pairs)
		return REFUSED;
	if (pairs == ctrl->filter.pairs)
		return DONE;
	ctrl->pending_pairs = pairs;
	err = ctrl->ops->set_pairs(ctrl->arg, pairs);
	if (err > 0)
		return LATER;
	if (err)
		return REFUSED;
	ctrl->filter.pairs = pairs;
	return DONE;
}

static enum outcome execute(struct vmm_net_ctrl *ctrl, const struct vhu_local_chain *chain)
{
	uint8_t header[HEADER_LEN];
	struct command command = { .chain = chain };

	if (vhu_local_read(chain, 0, header, sizeof(header)) < sizeof(header))
		return REFUSED;
	command.class = header[0];
	command.number = header[1];
	command.len = chain->read_len - HEADER_LEN;
	switch (command.class) {
	case CLASS_RX:
		return set_rx_mode(ctrl, &command);
	case CLASS_MAC:
		return set_mac(ctrl, &command);
	case CLASS_VLAN:
		return set_vlan(ctrl, &command);
	case CLASS_ANNOUNCE:
		return announced(ctrl, &command);
	case CLASS_MQ:
		return set_pairs(ctrl, &command);
	default:
		return REFUSED;
	}
}

static void answer(struct vmm_net_ctrl *ctrl, bool ok)
{
	const uint8_t ack = ok ? ACK_OK : ACK_ERR;

	vhu_local_push(ctrl->local, vhu_local_write(&ctrl->chain, 0, &ack, sizeof(ack)));
}

int vmm_net_ctrl_process(struct vmm_net_ctrl *ctrl, unsigned int max, struct vhu_reason *why)
{
	enum outcome outcome;
	int got;

	if (ctrl->is_pending)
		return -EINPROGRESS;
	for (unsigned int i = 0; i < max; i++) {
		got = vhu_local_pop(ctrl->local, &ctrl->chain);
		if (got == -EPROTO)
			vhu_local_fault(ctrl->local, why);
		if (got < 0)
			return got;
		if (!got && !vhu_queue_arm(vhu_local_queue(ctrl->local)))
			return 0;
		if (!got)
			continue;
		/* nobody could be told what became of it: then nothing does */
		outcome = ctrl->chain.write_len ? execute(ctrl, &ctrl->chain) : REFUSED;
		if (outcome == LATER) {
			ctrl->is_pending = true;
			return -EINPROGRESS;
		}
		answer(ctrl, outcome == DONE);
	}
	return 1;
}

void vmm_net_ctrl_finish(struct vmm_net_ctrl *ctrl, bool ok)
{
	if (!ctrl->is_pending)
		return;
	ctrl->is_pending = false;
	if (ok)
		ctrl->filter.pairs = ctrl->pending_pairs;
	answer(ctrl, ok);
}

int vmm_net_ctrl_new(struct vmm_net_ctrl **ret_ctrl, struct vhu_memory *memory,
		     const struct vmm_net_ctrl_ops *ops, void *arg)
{
	struct vmm_net_ctrl *ctrl = calloc(1, sizeof(*ctrl));

	if (!ctrl)
		return -ENOMEM;
	ctrl->ops = ops;
	ctrl->arg = arg;
	if (vhu_local_new(&ctrl->local, memory)) {
		free(ctrl);
		return -ENOMEM;
	}
	*ret_ctrl = ctrl;
	return 0;
}

void vmm_net_ctrl_free(struct vmm_net_ctrl *ctrl)
{
	if (!ctrl)
		return;
	vhu_local_free(ctrl->local);
	free(ctrl);
}

void vmm_net_ctrl_reset(struct vmm_net_ctrl *ctrl, const uint8_t mac[6], uint64_t features,
			unsigned int max_pairs)
{
	ctrl->features = features;
	ctrl->max_pairs = max_pairs;
	ctrl->filter = (struct vmm_net_filter){ .pairs = 1 };
	memcpy(ctrl->filter.mac, mac, MAC_LEN);
	memset(ctrl->unicast, 0, sizeof(ctrl->unicast));
	memset(ctrl->multicast, 0, sizeof(ctrl->multicast));
	memset(ctrl->vlans, 0, sizeof(ctrl->vlans));
}

int vmm_net_ctrl_start(struct vmm_net_ctrl *ctrl, const struct vhu_local_ring *ring,
		       struct vhu_reason *why)
{
	return vhu_local_start(ctrl->local, ring, why);
}

void vmm_net_ctrl_stop(struct vmm_net_ctrl *ctrl)
{
	ctrl->is_pending = false;
	vhu_local_stop(ctrl->local);
}

const struct vmm_net_filter *vmm_net_ctrl_filter(const struct vmm_net_ctrl *ctrl)
{
	return &ctrl->filter;
}
