/* SPDX-License-Identifier: MIT */
/*
 * A switch with one worker, and frontends of the test's own on its ports: the fixture of programs that
 * need no more than that. It must not know what they send.
 */
#ifndef TESTS_PAIR_SWITCH_LAB_H
#define TESTS_PAIR_SWITCH_LAB_H

#include <poll.h>
#include <unistd.h>

#include "driver.h"
#include "switch/switch.h"

enum {
	LAB_PORTS = 4,
};

struct lab {
	struct vhu_switch *sw;
	char dir[64];
	struct drv drv[LAB_PORTS];
	bool is_up[LAB_PORTS];
};

static inline void lab_log(void *arg, int level, const char *text)
{
	(void)arg, (void)level, (void)text;
}

static inline bool lab_pump(void *arg)
{
	struct lab *lab = arg;
	struct pollfd pfd = { .fd = sw_fd(lab->sw), .events = POLLIN };

	if (poll(&pfd, 1, 0) != 1)
		return false;
	assert_int_equal(sw_process(lab->sw), 0);
	return true;
}

static inline int lab_setup(void **state)
{
	struct lab *lab = calloc(1, sizeof(*lab));
	const struct sw_options options = { .nr_workers = 1, .log = lab_log, .arg = lab };

	assert_non_null(lab);
	strcpy(lab->dir, "/tmp/vhu-switch-XXXXXX");
	assert_non_null(mkdtemp(lab->dir));
	assert_int_equal(sw_new(&lab->sw, &options), 0);
	*state = lab;
	return 0;
}

static inline int lab_teardown(void **state)
{
	struct lab *lab = *state;

	sw_stop(lab->sw);
	for (unsigned int i = 0; i < LAB_PORTS; i++)
		if (lab->is_up[i])
			drv_free(&lab->drv[i]);
	sw_free(lab->sw);
	if (rmdir(lab->dir))
		return -1;
	free(lab);
	return 0;
}

/* A port with a frontend that has said nothing yet. */
static inline struct drv *lab_connect(struct lab *lab, unsigned int i, const char *options,
				      const struct drv_options *drv_options)
{
	struct drv *drv = &lab->drv[i];
	char spec[256], err[SW_ERR_MAX];

	snprintf(spec, sizeof(spec), "p%u=vhost-user:%s/p%u%s", i, lab->dir, i, options);
	if (sw_add_port(lab->sw, spec, err, sizeof(err)))
		fail_msg("%s: %s", spec, err);
	drv_init(drv, drv_options);
	drv->pump = lab_pump;
	drv->pump_arg = lab;
	lab->is_up[i] = true;
	snprintf(spec, sizeof(spec), "%s/p%u", lab->dir, i);
	assert_int_equal(drv_connect(drv, spec), 0);
	return drv;
}

/* Begins a test. Not in lab_setup(): cmocka takes SIGBUS after that. */
static inline struct lab *lab_start(void **state)
{
	struct lab *lab = *state;

	assert_int_equal(sw_start(lab->sw), 0);
	return lab;
}

#define LAB_TEST(name) cmocka_unit_test_setup_teardown(name, lab_setup, lab_teardown)

#endif
