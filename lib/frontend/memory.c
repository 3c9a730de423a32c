/* SPDX-License-Identifier: MIT */
/*
 * What a backend knows of guest memory, and the steps from there to the memory as it is: one table,
 * or region by region where slots were agreed. Sends nothing.
 */
#include <frontend/device.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <base/fd.h>

int vhu_fe_memory_now(struct vhu_frontend *fe, struct told *ret_now, struct vhu_reason *why)
{
	struct vhu_memory_region region;
	struct told now = { 0 };

	for (unsigned int i = 0; !vhu_memory_region(fe->memory, i, &region); i++) {
		struct stat st;

		if (vhu_range_wraps(region.gpa + VHU_FE_UVA_BASE, region.size) ||
		    region.gpa > UINT64_MAX - VHU_FE_UVA_BASE)
			return vhu_refuse(why, -ERANGE,
					  "memory: region at 0x%llx lies too high to be told of",
					  (unsigned long long)region.gpa);
		if (fstat(region.fd, &st) < 0)
			return vhu_refuse(why, -errno, "memory: fstat of a region failed");
		now.region[now.nr++] = (struct told_region){ .gpa = region.gpa,
							     .size = region.size,
							     .offset = region.offset,
							     .dev = st.st_dev,
							     .ino = st.st_ino };
	}
	*ret_now = now;
	return 0;
}

static bool is_same(const struct told_region *a, const struct told_region *b)
{
	return a->gpa == b->gpa && a->size == b->size && a->offset == b->offset &&
	       a->dev == b->dev && a->ino == b->ino;
}

static bool contains(const struct told *told, const struct told_region *r)
{
	for (unsigned int i = 0; i < told->nr; i++) {
		if (is_same(&told->region[i], r))
			return true;
	}
	return false;
}

static int plan_slots(struct vhu_frontend *fe, struct job *job)
{
	int err = 0;

	/* from the last one down: the numbers of those that stay do not change by it */
	for (unsigned int i = fe->told.nr; i-- > 0 && !err;) {
		const struct step step = { .request = VHU_REM_MEM_REG, .ring = (uint16_t)i };

		if (!contains(job->plan, &fe->told.region[i]))
			err = vhu_fe_add_step(job, &step);
	}
	for (unsigned int i = 0; i < job->plan->nr && !err; i++) {
		const struct step step = { .request = VHU_ADD_MEM_REG, .ring = (uint16_t)i };

		if (!contains(&fe->told, &job->plan->region[i]))
			err = vhu_fe_add_step(job, &step);
	}
	return err;
}

int vhu_fe_memory_plan(struct vhu_frontend *fe, struct job *job, struct vhu_reason *why)
{
	const struct step whole = { .request = VHU_SET_MEM_TABLE };
	bool slots = vhu_fe_has(fe, VHU_P_CONFIGURE_MEM_SLOTS_BIT);
	unsigned int max = slots ? fe->max_slots : VHU_MAX_MSG_REGIONS;
	unsigned int same = 0;
	int err;

	free(job->plan);
	job->plan = calloc(1, sizeof(*job->plan));
	if (!job->plan)
		return -ENOMEM;
	err = vhu_fe_memory_now(fe, job->plan, why);
	if (err)
		return err;
	if (!vhu_fe_log_reaches(fe))
		return vhu_refuse(why, -ENOSPC,
				  "memory: a region lies beyond the dirty log's %llu bytes",
				  (unsigned long long)fe->log_size);
	if (job->plan->nr > max)
		return vhu_refuse(why, -ENOSPC, "memory: %u regions, the backend takes %u",
				  job->plan->nr, max);
	if (slots)
		return plan_slots(fe, job);
	while (same < job->plan->nr && contains(&fe->told, &job->plan->region[same]))
		same++;
	if (same == job->plan->nr && fe->told.nr == same)
		return 0;
	return vhu_fe_add_step(job, &whole);
}

void vhu_fe_memory_told(struct vhu_frontend *fe, const struct step *step)
{
	const struct told *plan = fe->jobs->plan;
	struct told *told = &fe->told;

	switch (step->request) {
	case VHU_SET_MEM_TABLE:
		*told = *plan;
		break;
	case VHU_ADD_MEM_REG:
		if (told->nr < VHU_ARRAY_SIZE(told->region))
			told->region[told->nr++] = plan->region[step->ring];
		break;
	case VHU_REM_MEM_REG:
		told->nr--;
		for (unsigned int i = step->ring; i < told->nr; i++)
			told->region[i] = told->region[i + 1];
		break;
	default:
		break;
	}
}
