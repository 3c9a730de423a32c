/* SPDX-License-Identifier: MIT */
/*
 * The device side by DPDK's librte_vhost, as its net_vhost driver uses it, without that driver's own
 * work. Never part of libvhu or of vhu.
 *
 * What an application has to do with mbufs belongs to a frame's cost: rte_vhost_dequeue_burst()
 * allocates them, and whoever is done with them frees them, in one call for the burst. Filling in
 * those that device_give() sends is not timed.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_vhost.h>

#include "device.h"
#include "guest.h"

enum {
	NR_MBUFS = 8192,
	CACHE = 250, /* as testpmd has it */
	BURST_MAX = 32,
	MEGABYTES = 256,
};

static struct {
	const char *paths[DEVICE_PORTS];
	unsigned int nr_paths;
	int vid[DEVICE_PORTS];
	atomic_uint nr_ready;
	struct rte_mempool *pool;
	uint8_t frame[VHU_NET_FRAME_MAX];
	struct device_options options;
	struct rte_mbuf *mbufs[BURST_MAX];
	unsigned int nr_mbufs; /* in hand, to be freed */
} dev;

/* On a thread of librte_vhost's own, when all rings of a device can run. */
static int new_device(int vid)
{
	char path[128];

	if (rte_vhost_get_ifname(vid, path, sizeof(path)) != 0)
		return -1;
	for (unsigned int i = 0; i < DEVICE_PORTS; i++) {
		if (strcmp(path, dev.paths[i]) != 0)
			continue;
		dev.vid[i] = vid;
		for (uint16_t ring = 0; ring < 2; ring++)
			rte_vhost_enable_guest_notification(vid, ring, 0);
		atomic_fetch_add(&dev.nr_ready, 1);
	}
	return 0;
}

static void destroy_device(int vid)
{
	(void)vid;
}

static const struct rte_vhost_device_ops ops = {
	.new_device = new_device,
	.destroy_device = destroy_device,
};

static int start_eal(const struct device_options *options)
{
	char lcores[32], mem[32];
	const char *const common[] = {
		"ring_cost_dpdk", "--lcores",	    lcores,	   "-m",   mem,
		"--no-pci",	  "--no-telemetry", "--log-level", "error"
	};
	const char *const huge[] = { "--in-memory", "--single-file-segments" };
	const char *const small[] = { "--no-huge", "--no-shconf" };
	char *args[11];
	int nr = 0;

	snprintf(lcores, sizeof(lcores), "0@%d", options->cpu);
	snprintf(mem, sizeof(mem), "%d", MEGABYTES);
	for (size_t i = 0; i < sizeof(common) / sizeof(common[0]); i++)
		args[nr++] = (char *)(uintptr_t)common[i];
	for (size_t i = 0; i < 2; i++)
		args[nr++] = (char *)(uintptr_t)(options->huge ? huge : small)[i];
	return rte_eal_init(nr, args) < 0 ? -ENOTSUP : 0;
}

int device_open(const struct device_options *options, const char *const paths[DEVICE_PORTS])
{
	int err = start_eal(options);

	if (err)
		return err;
	dev.options = *options;
	guest_make_frame(dev.frame, options->frame_len, options->tso);
	dev.pool = rte_pktmbuf_pool_create("mbufs", NR_MBUFS, CACHE, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
					   (int)rte_socket_id());
	if (!dev.pool)
		return -ENOMEM;
	for (unsigned int i = 0; i < DEVICE_PORTS; i++) {
		dev.paths[i] = paths[i];
		if (rte_vhost_driver_register(paths[i], RTE_VHOST_USER_NET_COMPLIANT_OL_FLAGS) !=
			    0 ||
		    rte_vhost_driver_callback_register(paths[i], &ops) != 0 ||
		    rte_vhost_driver_start(paths[i]) != 0)
			return -EIO;
		dev.nr_paths++;
	}
	return 0;
}

int device_look(void)
{
	return atomic_load(&dev.nr_ready) == DEVICE_PORTS;
}

void device_close(void)
{
	for (unsigned int i = 0; i < dev.nr_paths; i++)
		rte_vhost_driver_unregister(dev.paths[i]);
	rte_mempool_free(dev.pool);
	rte_eal_cleanup();
}

/* One frame as a chain of mbufs. */
static struct rte_mbuf *make(void)
{
	struct rte_mbuf *head = NULL, *last = NULL;

	for (uint32_t at = 0; at < dev.options.frame_len;) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(dev.pool);
		uint32_t n = dev.options.frame_len - at;

		if (!m)
			return NULL;
		if (n > rte_pktmbuf_tailroom(m))
			n = rte_pktmbuf_tailroom(m);
		m->data_len = (uint16_t)n;
		memcpy(rte_pktmbuf_mtod(m, void *), dev.frame + at, n);
		at += n;
		if (!head) {
			head = m;
			m->pkt_len = dev.options.frame_len;
		} else {
			last->next = m;
			head->nb_segs++;
		}
		last = m;
	}
	if (head && dev.options.tso) {
		head->ol_flags =
			RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_IPV4;
		head->l2_len = 14;
		head->l3_len = 20;
		head->l4_len = 20;
		head->tso_segsz = guest_frame_hdr(true).gso_size;
	}
	return head;
}

void device_prepare(bool give)
{
	for (dev.nr_mbufs = 0; give && dev.nr_mbufs < dev.options.burst; dev.nr_mbufs++)
		dev.mbufs[dev.nr_mbufs] = make();
}

static void free_mbufs(void)
{
	rte_pktmbuf_free_bulk(dev.mbufs, dev.nr_mbufs);
	dev.nr_mbufs = 0;
}

void device_clean(void)
{
	free_mbufs();
}

__attribute__((noinline)) unsigned int device_take(unsigned int port)
{
	const uint16_t nr = rte_vhost_dequeue_burst(dev.vid[port], 1, dev.pool, dev.mbufs,
						    (uint16_t)dev.options.burst);

	dev.nr_mbufs = nr;
	if (!dev.options.no_free)
		free_mbufs();
	return nr;
}

__attribute__((noinline)) unsigned int device_give(unsigned int port)
{
	const uint16_t nr =
		rte_vhost_enqueue_burst(dev.vid[port], 0, dev.mbufs, (uint16_t)dev.nr_mbufs);

	if (!dev.options.no_free)
		free_mbufs();
	return nr;
}

__attribute__((noinline)) unsigned int device_forward(unsigned int from, unsigned int to)
{
	uint16_t nr;

	dev.nr_mbufs = rte_vhost_dequeue_burst(dev.vid[from], 1, dev.pool, dev.mbufs,
					       (uint16_t)dev.options.burst);
	nr = rte_vhost_enqueue_burst(dev.vid[to], 0, dev.mbufs, (uint16_t)dev.nr_mbufs);
	if (!dev.options.no_free)
		free_mbufs();
	return nr;
}
