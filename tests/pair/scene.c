/* SPDX-License-Identifier: MIT */
/* What all tests with a hostile backend have in common; it knows no particular lie. */
#include "scene.h"

int scene_setup(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));

	*state = s;
	if (!s)
		return -1;
	tally_take(&s->before);
	fixture_init(&s->backend, NULL);
	front_init(&s->bystander, &(struct front_options){ .connect = s->backend.path });
	front_run(&s->bystander);
	return 0;
}

void scene_check_bystander(struct scene *s)
{
	front_echo(&s->bystander, 10, false);
	assert_int_equal(s->bystander.gone, 0);
	assert_int_equal(s->bystander.complaints, 0);
}

int scene_teardown(void **state)
{
	struct scene *s = *state;

	lab_down(&s->lab);
	scene_check_bystander(s);
	front_free(&s->bystander);
	fixture_free(&s->backend);
	s->before.heap = SIZE_MAX;
	tally_check(&s->before);
	free(s);
	return 0;
}

struct scene *scene_begin(void **state, const struct front_options *front_options,
			  const struct liar_options *liar_options)
{
	struct scene *s = *state;
	struct front_options options = { 0 };
	void *lab = &s->lab;

	if (front_options)
		options = *front_options;
	if (!options.reply_timeout_ms)
		options.reply_timeout_ms = FRONT_PATIENCE_MS;
	lab_up(&lab, &options, liar_options);
	return s;
}
