// SPDX-License-Identifier: MIT
/* The names of the counters: the one place where a counter that is shown gets its name. */

#include "switch/switch.h"

#define RX(field, text)                                                                            \
	{                                                                                          \
#field, text, (uint16_t)offsetof(struct sw_counters, field), false, false          \
	}
#define TX(field, text)                                                                            \
	{                                                                                          \
#field, text, (uint16_t)offsetof(struct sw_counters, field), true, false           \
	}
#define RX_DROP(cause, text)                                                                       \
	{                                                                                          \
		"rx_drop_" #cause, text, (uint16_t)offsetof(struct sw_counters, rx_drop_##cause),  \
			false, true                                                                \
	}
#define TX_DROP(cause, text)                                                                       \
	{                                                                                          \
		"tx_drop_" #cause, text, (uint16_t)offsetof(struct sw_counters, tx_drop_##cause),  \
			true, true                                                                 \
	}

const struct sw_counter_row sw_counter_rows[] = {
	RX(rx_frames, "frames"),
	RX(rx_bytes, "bytes"),
	RX(rx_visits, "visits"),
	RX(rx_limited, "stops at the rate limit"),
	RX(rx_kicks, "kicks received"),
	RX(rx_calls, "calls made"),
	RX(rx_calls_suppressed, "calls suppressed"),
	RX_DROP(bad_chain, "bad descriptor chain"),
	RX_DROP(short, "no whole Ethernet header"),
	RX_DROP(long, "too long"),
	RX_DROP(bad_hdr, "bad virtio-net header"),
	RX_DROP(disabled, "queue disabled"),
	RX_DROP(vlan, "VLAN not allowed"),
	RX_DROP(bad_source, "bad source address"),
	RX_DROP(link_local, "link-local destination"),
	RX_DROP(same_port, "destination on the same port"),
	RX_DROP(no_port, "no other port"),
	RX_DROP(poisoned, "sender's memory vanished"),
	TX(tx_frames, "frames"),
	TX(tx_bytes, "bytes"),
	TX(tx_calls, "calls made"),
	TX(tx_calls_suppressed, "calls suppressed"),
	TX(tx_segmented, "segmented or checksummed here"),
	TX_DROP(rx_full, "receive ring full"),
	TX_DROP(busy, "receive ring held by another worker"),
	TX_DROP(not_ready, "no running receive ring"),
	TX_DROP(mtu, "beyond the port's MTU"),
	TX_DROP(too_big, "no receive buffer takes it"),
	TX_DROP(unfit, "cannot be made fit for the receiver"),
	TX_DROP(error, "error of the port"),
	{ 0 },
};

uint64_t sw_counter(const struct sw_counters *counters, const struct sw_counter_row *row)
{
	const uint64_t *value =
		(const uint64_t *)(const void *)((const char *)counters + row->offset);

	return *value;
}
