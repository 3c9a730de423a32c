// SPDX-License-Identifier: MIT
/* The clock: an index port, a data port, registers made from the host's time when they are read. */

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <vmm/platform.h>
#include <vmm/rtc.h>

enum {
	INDEX_MASK = 0x7f, /* the highest bit was the NMI's */
	RTC_SECONDS = 0x00,
	RTC_MINUTES = 0x02,
	RTC_HOURS = 0x04,
	RTC_WEEKDAY = 0x06,
	RTC_DAY = 0x07,
	RTC_MONTH = 0x08,
	RTC_YEAR = 0x09,
	RTC_STATUS_A = 0x0a,
	RTC_STATUS_B = 0x0b,
	RTC_STATUS_D = 0x0d,
	RTC_CENTURY = 0x32,
	STATUS_A_RATE = 0x26, /* the divider that a PC has; no update is in progress */
	STATUS_B_24H = 0x02,  /* and not binary: BCD */
	STATUS_D_VALID = 0x80,
};

struct vmm_rtc {
	struct vmm_bus *port;
	struct vmm_range range;
	uint8_t index;
};

static uint8_t bcd(int number)
{
	return (uint8_t)(number / 10 % 10 << 4 | number % 10);
}

static uint8_t read_reg(uint8_t index)
{
	struct timespec now;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	switch (index) {
	case RTC_SECONDS:
		return bcd(tm.tm_sec);
	case RTC_MINUTES:
		return bcd(tm.tm_min);
	case RTC_HOURS:
		return bcd(tm.tm_hour);
	case RTC_WEEKDAY:
		return bcd(tm.tm_wday + 1);
	case RTC_DAY:
		return bcd(tm.tm_mday);
	case RTC_MONTH:
		return bcd(tm.tm_mon + 1);
	case RTC_YEAR:
		return bcd(tm.tm_year % 100);
	case RTC_CENTURY:
		return bcd(19 + tm.tm_year / 100);
	case RTC_STATUS_A:
		return STATUS_A_RATE;
	case RTC_STATUS_B:
		return STATUS_B_24H;
	case RTC_STATUS_D:
		return STATUS_D_VALID;
	default:
		return 0;
	}
}

static uint64_t on_read(void *arg, uint64_t offset, unsigned int size)
{
	const struct vmm_rtc *rtc = arg;

	(void)size;
	return offset ? read_reg(rtc->index) : 0xff;
}

static void on_write(void *arg, uint64_t offset, unsigned int size, uint64_t value)
{
	struct vmm_rtc *rtc = arg;

	(void)size;
	if (!offset)
		rtc->index = (uint8_t)value & INDEX_MASK;
}

static const struct vmm_range_ops range_ops = {
	.read = on_read,
	.write = on_write,
	.min_size = 1,
	.max_size = 1,
};

int vmm_rtc_new(struct vmm_rtc **ret_rtc, struct vmm_bus *port)
{
	struct vmm_rtc *rtc = calloc(1, sizeof(*rtc));
	int err;

	if (!rtc)
		return -ENOMEM;
	rtc->port = port;
	rtc->range = (struct vmm_range){
		.base = VMM_PORT_CMOS, .size = 2, .name = "rtc", .ops = &range_ops, .arg = rtc
	};
	err = vmm_bus_add(port, &rtc->range, NULL);
	if (err < 0) {
		free(rtc);
		return err;
	}
	*ret_rtc = rtc;
	return 0;
}

void vmm_rtc_free(struct vmm_rtc *rtc)
{
	if (!rtc)
		return;
	vmm_bus_remove(rtc->port, &rtc->range);
	free(rtc);
}
