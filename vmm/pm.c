// SPDX-License-Identifier: MIT
/* ACPI's fixed hardware (6.4, 4.8.3), as much of it as a guest needs to end, and two ways to reset. */

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <vmm/platform.h>
#include <vmm/pm.h>

enum {
	/* PM1 status and enable. The status' others never happen here. */
	PM1_PWRBTN = 1 << 8,
	/* PM1 control. */
	CNT_SCI_EN = 1 << 0,
	CNT_SLP_TYP_SHIFT = 10,
	CNT_SLP_TYP_MASK = 7,
	CNT_SLP_EN = 1 << 13,
	CNT_MASK = 0x1c07, /* what is remembered */

	I8042_COMMAND = 4, /* its offset from the data port */
	I8042_RESET = 0xfe,

	PM_TIMER_HZ = 3579545, /* 4.8.3.3 */
	NR_RANGES = 4,
};

struct vmm_pm {
	struct vmm_pm_options options;
	struct vmm_range ranges[NR_RANGES];
	unsigned int nr_ranges;
	uint16_t status, enable, control;
	bool level;
};

static void set_sci(struct vmm_pm *pm)
{
	bool level = pm->status & pm->enable;

	if (level == pm->level)
		return;
	pm->level = level;
	pm->options.irq->ops->set_line(pm->options.irq->arg, VMM_IRQ_SCI, level);
}

/* ---- Event and control blocks, at once: 2 bytes each of status, enable, control ---- */

static uint64_t read_pm1(void *arg, uint64_t offset, unsigned int size)
{
	const struct vmm_pm *pm = arg;

	(void)size;
	switch (offset) {
	case 0:
		return pm->status;
	case 2:
		return pm->enable;
	case VMM_PORT_PM1A_CNT - VMM_PORT_PM1A_EVT:
		/* There is no other mode to go to: 4.8.3.2.1. */
		return pm->control | CNT_SCI_EN;
	default:
		return 0;
	}
}

static void write_pm1(void *arg, uint64_t offset, unsigned int size, uint64_t value)
{
	struct vmm_pm *pm = arg;

	(void)size;
	switch (offset) {
	case 0: /* written with 1: cleared */
		pm->status &= (uint16_t)~value;
		break;
	case 2:
		pm->enable = (uint16_t)value;
		break;
	case VMM_PORT_PM1A_CNT - VMM_PORT_PM1A_EVT:
		pm->control = (uint16_t)value & CNT_MASK;
		if (value & CNT_SLP_EN &&
		    (value >> CNT_SLP_TYP_SHIFT & CNT_SLP_TYP_MASK) == VMM_SLP_TYP_S5)
			pm->options.power_off(pm->options.arg);
		break;
	default:
		break;
	}
	set_sci(pm);
}

static const struct vmm_range_ops pm1_ops = {
	.read = read_pm1,
	.write = write_pm1,
	.min_size = 2,
	.max_size = 2,
};

/* ---- Timer ---- */

static uint64_t read_timer(void *arg, uint64_t offset, unsigned int size)
{
	struct timespec now;

	(void)arg;
	(void)offset;
	(void)size;
	clock_gettime(CLOCK_MONOTONIC, &now);
	/* Seconds cut, so that nothing overflows; only the low 32 bits are seen. */
	return (uint32_t)((uint64_t)now.tv_sec * PM_TIMER_HZ +
			  (uint64_t)now.tv_nsec * PM_TIMER_HZ / 1000000000u);
}

static void write_nothing(void *arg, uint64_t offset, unsigned int size, uint64_t value)
{
	(void)arg;
	(void)offset;
	(void)size;
	(void)value;
}

static const struct vmm_range_ops timer_ops = {
	.read = read_timer,
	.write = write_nothing,
	.min_size = 4,
	.max_size = 4,
};

/* ---- Reset ---- */

static uint64_t read_zero(void *arg, uint64_t offset, unsigned int size)
{
	(void)arg;
	(void)offset;
	(void)size;
	return 0;
}

static void write_reset(void *arg, uint64_t offset, unsigned int size, uint64_t value)
{
	struct vmm_pm *pm = arg;

	(void)offset;
	(void)size;
	if (value == VMM_RESET_VALUE)
		pm->options.reset(pm->options.arg);
}

static const struct vmm_range_ops reset_ops = {
	.read = read_zero,
	.write = write_reset,
	.min_size = 1,
	.max_size = 1,
};

static void write_i8042(void *arg, uint64_t offset, unsigned int size, uint64_t value)
{
	struct vmm_pm *pm = arg;

	(void)offset;
	(void)size;
	if (value == I8042_RESET)
		pm->options.reset(pm->options.arg);
}

/* Its status reads as 0: the command buffer is empty, there is no key. */
static const struct vmm_range_ops i8042_ops = {
	.read = read_zero,
	.write = write_i8042,
	.min_size = 1,
	.max_size = 1,
};

/* ---- Life ---- */

static int add(struct vmm_pm *pm, const char *name, uint64_t base, uint64_t size,
	       const struct vmm_range_ops *ops)
{
	struct vmm_range *range = &pm->ranges[pm->nr_ranges];
	int err;

	*range = (struct vmm_range){
		.base = base, .size = size, .name = name, .ops = ops, .arg = pm
	};
	err = vmm_bus_add(pm->options.port, range, NULL);
	if (!err)
		pm->nr_ranges++;
	return err;
}

int vmm_pm_new(struct vmm_pm **ret_pm, const struct vmm_pm_options *options)
{
	struct vmm_pm *pm = calloc(1, sizeof(*pm));
	int err;

	if (!pm)
		return -ENOMEM;
	pm->options = *options;
	err = add(pm, "pm1", VMM_PORT_PM1A_EVT, VMM_PORT_PM1A_CNT + 2 - VMM_PORT_PM1A_EVT,
		  &pm1_ops);
	if (!err)
		err = add(pm, "pm-timer", VMM_PORT_PM_TMR, 4, &timer_ops);
	if (!err)
		err = add(pm, "reset", VMM_PORT_RESET, 1, &reset_ops);
	if (!err)
		err = add(pm, "i8042", VMM_PORT_I8042 + I8042_COMMAND, 1, &i8042_ops);
	if (err < 0) {
		vmm_pm_free(pm);
		return err;
	}
	*ret_pm = pm;
	return 0;
}

void vmm_pm_free(struct vmm_pm *pm)
{
	if (!pm)
		return;
	for (unsigned int i = 0; i < pm->nr_ranges; i++)
		vmm_bus_remove(pm->options.port, &pm->ranges[i]);
	free(pm);
}

bool vmm_pm_press(struct vmm_pm *pm)
{
	if (!(pm->enable & PM1_PWRBTN))
		return false;
	pm->status |= PM1_PWRBTN;
	set_sci(pm);
	return true;
}
