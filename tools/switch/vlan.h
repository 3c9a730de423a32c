/* SPDX-License-Identifier: MIT */
/* Which VLANs a port belongs to; knows neither frames nor ports. */
#ifndef SW_VLAN_H
#define SW_VLAN_H

#include <stdbool.h>
#include <stdint.h>

enum sw_vlan_mode {
	SW_VLAN_UNAWARE, /* tags are payload: everything is VLAN 0 */
	SW_VLAN_ACCESS,	 /* untagged outside, one VLAN inside */
	SW_VLAN_TRUNK,	 /* tagged outside, a set of VLANs */
};

struct sw_vlans {
	enum sw_vlan_mode mode;
	uint16_t access;
	uint64_t trunk[64]; /* one bit for each of 4096 */
};

static inline bool sw_vlans_has(const struct sw_vlans *vlans, unsigned int vlan)
{
	switch (vlans->mode) {
	case SW_VLAN_ACCESS:
		return vlan == vlans->access;
	case SW_VLAN_TRUNK:
		return vlans->trunk[(vlan >> 6) & 63] >> (vlan & 63) & 1;
	case SW_VLAN_UNAWARE:
		break;
	}
	return vlan == 0;
}

#endif
