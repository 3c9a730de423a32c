// SPDX-License-Identifier: MIT
/*
 * The order of things between a transport and a backend: one state, and what each order and each
 * piece of news does to it. Knows nothing of what kind of device it is.
 */
#include <vmm/vhost.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include <vmm/vhost_mask.h>

enum state {
	IDLE,	    /* nothing is wanted; the frontend is as new */
	WAITING,    /* a start is wanted, and no backend is there, or no queue enabled */
	STARTING,   /* the frontend was asked to */
	RUNNING,    /* also while the backend is gone: it will be told again */
	RESTARTING, /* rings are stopped, to be started with one more */
	STOPPING,   /* a reset was asked for */
	FAILED,	    /* the guest has to reset the device */
};

struct vmm_vhost {
	struct vmm_vhost_options o;
	struct vhu_frontend *fe;
	struct vmm_virtio *virtio;
	enum state state;
	bool is_present; /* greeted, and told of all that runs */
	bool touched;	 /* the frontend knows of this run: it has to be reset after it */
	bool one_more;	 /* STARTING: a queue was enabled meanwhile */
	bool owes_reset; /* STOPPING: it could not be asked for yet */
	uint64_t offered;
	uint64_t features;
	unsigned int nr_rings, nr_served;
	bool is_described[VHU_MAX_RINGS]; /* in this run */
	bool is_stale[VHU_MAX_RINGS];	  /* in an earlier one, and the frontend still has it */

	struct vmm_vhost_mask mask;
};

static void say(const struct vmm_vhost *v, const char *text)
{
	if (v->o.say)
		v->o.say(v->o.say_arg, v->o.name, text);
}

static void changed(struct vmm_vhost *v)
{
	if (v->o.ops->changed)
		v->o.ops->changed(v->o.arg);
}

static void set_state(struct vmm_vhost *v, enum state state)
{
	bool was = vmm_vhost_is_up(v);

	v->state = state;
	if (was != vmm_vhost_is_up(v))
		changed(v);
}

static void set_present(struct vmm_vhost *v, bool is_present)
{
	bool was = vmm_vhost_is_up(v);

	v->is_present = is_present;
	if (was != vmm_vhost_is_up(v))
		changed(v);
}

void vmm_vhost_fail(struct vmm_vhost *v, const char *text)
{
	say(v, text);
	if (v->state == IDLE || v->state == STOPPING || v->state == FAILED)
		return; /* of a run that is over */
	set_state(v, FAILED);
	vmm_virtio_needs_reset(v->virtio);
}

static void fail(struct vmm_vhost *v, const char *what, int err, const char *why)
{
	char text[VMM_TEXT];

	snprintf(text, sizeof(text), "%s: %s", what, why && why[0] ? why : strerror(-err));
	vmm_vhost_fail(v, text);
}

/* ---- start ---- */

static void restart(struct vmm_vhost *v);

/* Of the rings that a backend serves, those that the driver has enabled. */
static unsigned int nr_enabled(const struct vmm_vhost *v)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < v->nr_rings; i++)
		nr += v->virtio->queues[i].is_enabled;
	return nr;
}

static void start_done(void *arg, int err, const struct vhu_answer *answer)
{
	struct vmm_vhost *v = arg;

	if (v->state != STARTING)
		return; /* it was reset meanwhile */
	if (err) {
		fail(v, "start", err, answer->reason);
		return;
	}
	vmm_probe(v->o.probe, VMM_AT_RUNNING, v->o.name, NULL, nr_enabled(v), 0);
	set_state(v, RUNNING);
	if (v->one_more)
		restart(v);
}

/* A ring that an earlier run described, and this one does not have. */
static int undescribe(struct vmm_vhost *v, unsigned int i)
{
	const struct vhu_frontend_ring none = {
		.size = sizeof(none), .kick_fd = -1, .call_fd = -1, .polled = true
	};
	int err = v->is_stale[i] ? vhu_frontend_set_ring(v->fe, i, &none) : 0;

	if (!err)
		v->is_stale[i] = false;
	return err;
}

static int describe_one(struct vmm_vhost *v, unsigned int i)
{
	const struct vmm_virtio_queue *q = &v->virtio->queues[i];
	const struct vhu_frontend_ring ring = {
		.size = sizeof(ring),
		.num = q->num,
		.addr = { .desc_gpa = q->desc, .avail_gpa = q->driver, .used_gpa = q->device },
		.kick_fd = q->kick_fd,
		.call_fd = q->call_fd,
		.disabled = i >= v->nr_served,
	};
	int err = v->is_described[i] ? 0 : vhu_frontend_set_ring(v->fe, i, &ring);

	if (!err) {
		v->is_described[i] = true;
		v->is_stale[i] = false;
	}
	return err;
}

/*
 * Describes what is new among the enabled queues, and that the others are none: the backend must
 * not hear of where they once were. How many there are, or -errno.
 */
static int describe(struct vmm_vhost *v, unsigned int *ret_ring)
{
	int count = 0;

	for (unsigned int i = 0; i < v->o.nr_rings; i++) {
		bool is_enabled = i < v->nr_rings && v->virtio->queues[i].is_enabled;
		int err = is_enabled ? describe_one(v, i) : undescribe(v, i);

		*ret_ring = i;
		if (err)
			return err;
		count += is_enabled;
	}
	return count;
}

/* Asks the frontend to start with what is known; WAITING if there is nothing to ask it. */
static void start(struct vmm_vhost *v)
{
	unsigned int ring = 0;
	char what[32];
	int err;

	v->state = WAITING;
	v->one_more = false;
	err = vhu_frontend_acknowledge(v->fe, v->features);
	if (err == -ENOTCONN)
		return;
	if (err) {
		fail(v, "start", err,
		     err == -EINVAL ? "the backend does not offer what the guest goes by" : NULL);
		return;
	}
	v->touched = true;
	err = describe(v, &ring);
	if (!err)
		return;
	if (err > 0) {
		v->state = STARTING;
		err = vhu_frontend_start(v->fe, start_done, v);
		if (err)
			fail(v, "start", err, NULL);
		return;
	}
	snprintf(what, sizeof(what), "queue %u", ring);
	fail(v, what, err,
	     err == -EINVAL ? "size or addresses cannot be those of a ring in guest memory" : NULL);
}

void vmm_vhost_start(struct vmm_vhost *v, uint64_t features, unsigned int nr_rings,
		     unsigned int nr_served)
{
	if (v->state != IDLE)
		return; /* no transport starts a device twice */
	v->features = features;
	v->nr_rings = nr_rings < v->o.nr_rings ? nr_rings : v->o.nr_rings;
	v->nr_served = nr_served;
	vmm_probe(v->o.probe, VMM_AT_START, v->o.name, "start", nr_enabled(v), 0);
	/* what a mask has to say is said again by whoever masks */
	for (unsigned int i = 0; v->o.mask_by_message && i < v->o.nr_rings; i++)
		vhu_frontend_mask(v->fe, i, false);
	start(v);
}

static void stopped_for_one_more(void *arg, int err, const struct vhu_answer *answer)
{
	struct vmm_vhost *v = arg;

	bool packed = v->features & VHU_MASK(VHU_F_RING_PACKED_BIT);

	if (v->state != RESTARTING)
		return;
	/* cut off in the middle, where a split ring stood is known */
	if (!err && packed && vhu_frontend_state(v->fe) != VHU_DEVICE_STOPPED)
		err = -ENODATA;
	if (err)
		fail(v, "stop for one queue more", err, answer->reason);
	else
		start(v);
}

/* The rings of a running device cannot be added to: they are stopped, and started with one more. */
static void restart(struct vmm_vhost *v)
{
	bool packed = v->features & VHU_MASK(VHU_F_RING_PACKED_BIT);
	int err;

	if (!v->is_present && packed) {
		fail(v, "one queue more", -ENODATA,
		     "the backend is gone, and where packed rings stood cannot be known");
		return;
	}
	set_state(v, RESTARTING);
	err = vhu_frontend_stop(v->fe, stopped_for_one_more, v);
	if (err)
		fail(v, "stop for one queue more", err, NULL);
}

void vmm_vhost_queue_enabled(struct vmm_vhost *v, unsigned int queue)
{
	if (queue >= v->nr_rings)
		return;
	if (v->state == WAITING)
		start(v);
	else if (v->state == STARTING)
		v->one_more = true;
	else if (v->state == RUNNING && !v->is_described[queue])
		restart(v);
}

int vmm_vhost_serve(struct vmm_vhost *v, unsigned int nr_served, vhu_done_fn *done, void *arg)
{
	unsigned int was = v->nr_served;
	int err;

	if (nr_served > v->nr_rings)
		return -EINVAL;
	if (nr_served > was)
		err = vhu_frontend_enable(v->fe, was, nr_served - was, true, done, arg);
	else
		err = vhu_frontend_enable(v->fe, nr_served, was - nr_served, false, done, arg);
	if (!err)
		v->nr_served = nr_served;
	return err;
}

/* ---- reset ---- */

static void reset_done(void *arg, int err, const struct vhu_answer *answer)
{
	struct vmm_vhost *v = arg;

	/* refused or cut off: the rings were stopped first, or nobody is there who had them */
	(void)err, (void)answer;
	for (unsigned int i = 0; i < v->o.nr_rings; i++) {
		v->is_stale[i] |= v->is_described[i];
		v->is_described[i] = false;
	}
	v->touched = false;
	v->state = IDLE;
	vmm_virtio_stopped(v->virtio);
}

static void ask_for_reset(struct vmm_vhost *v)
{
	v->owes_reset = vhu_frontend_reset(v->fe, reset_done, v) != 0;
}

bool vmm_vhost_stop(struct vmm_vhost *v)
{
	if (v->state == STOPPING)
		return false;
	if (v->state != IDLE)
		vmm_probe(v->o.probe, VMM_AT_START, v->o.name, "stop", nr_enabled(v), 0);
	if (!v->touched) {
		set_state(v, IDLE);
		return true;
	}
	/* first: a start that had not begun is told of its end from within */
	set_state(v, STOPPING);
	ask_for_reset(v);
	return false;
}

/* ---- the backend's news ---- */

static void greeted(struct vmm_vhost *v)
{
	uint64_t offered = vhu_frontend_offered(v->fe);

	if (offered)
		v->offered = offered;
	if (v->o.ops->greeted)
		v->o.ops->greeted(v->o.arg);
	if (v->state == WAITING)
		start(v);
}

static void on_connected(void *arg)
{
	struct vmm_vhost *v = arg;

	set_present(v, true);
	greeted(v);
}

static void on_gone(void *arg, int err, const char *reason)
{
	struct vmm_vhost *v = arg;
	char text[VMM_TEXT];

	(void)err;
	snprintf(text, sizeof(text), "the backend is gone: %s", reason);
	say(v, text);
	set_present(v, false);
}

static void on_back(void *arg)
{
	struct vmm_vhost *v = arg;

	say(v, "the backend is back");
	set_present(v, true);
	greeted(v);
}

static void on_needs_reset(void *arg, const char *reason)
{
	struct vmm_vhost *v = arg;

	vmm_vhost_fail(v, reason);
	/* it is there, for the next run */
	set_present(v, true);
	greeted(v);
}

static void on_config_changed(void *arg)
{
	struct vmm_vhost *v = arg;

	if (v->o.ops->config_changed)
		v->o.ops->config_changed(v->o.arg);
}

static void on_ring_error(void *arg, unsigned int ring)
{
	struct vmm_vhost *v = arg;
	char text[VMM_TEXT];

	snprintf(text, sizeof(text), "queue %u: the backend cannot go on with it", ring);
	vmm_vhost_fail(v, text);
}

static void on_complaint(void *arg, const char *text)
{
	say(arg, text);
}

static const char *what_of(const struct vhu_event *event)
{
	const struct vhu_request_row *row;

	switch ((enum vhu_event_kind)event->kind) {
	case VHU_EVENT_REQUEST_OUT:
	case VHU_EVENT_REPLY_IN:
		row = vhu_request_row(VHU_CHANNEL_MAIN, event->request);
		break;
	case VHU_EVENT_REQUEST_IN:
	case VHU_EVENT_REPLY_OUT:
		row = vhu_request_row(VHU_CHANNEL_BACKEND, event->request);
		break;
	case VHU_EVENT_DEVICE_STATE:
		return vhu_device_state_name((enum vhu_device_state)event->to);
	default:
		return vhu_event_name((enum vhu_event_kind)event->kind);
	}
	return row ? row->name : "unknown";
}

static void on_event(void *arg, const struct vhu_event *event)
{
	struct vmm_vhost *v = arg;

	vmm_probe(v->o.probe, VMM_AT_MESSAGE, v->o.name, what_of(event), event->kind,
		  event->ring < 0 ? 0 : (uint64_t)event->ring);
}

/* ---- made and freed ---- */

static const struct vhu_frontend_ops frontend_ops = {
	.size = sizeof(frontend_ops),
	.connected = on_connected,
	.gone = on_gone,
	.back = on_back,
	.needs_reset = on_needs_reset,
	.config_changed = on_config_changed,
	.ring_error = on_ring_error,
	.complaint = on_complaint,
	.event = on_event,
};

int vmm_vhost_new(struct vmm_vhost **ret_vhost, const struct vmm_vhost_options *options,
		  char text[VMM_TEXT])
{
	struct vhu_frontend_options fo = {
		.size = sizeof(fo),
		.memory = options->memory,
		.nr_rings = options->nr_rings,
		.features = options->features,
		.features_needed = VHU_MASK(VHU_F_VERSION_1_BIT),
		.protocol_features = options->protocol_features,
		.reply_timeout_ms = options->reply_timeout_ms,
		.ops = &frontend_ops,
	};
	struct vmm_vhost *v = calloc(1, sizeof(*v));
	int err;

	if (!v) {
		snprintf(text, VMM_TEXT, "out of memory");
		return -ENOMEM;
	}
	v->o = *options;
	fo.arg = v;
	/* connecting is tried for ever, and would be in vain for ever */
	err = strlen(options->path) < sizeof(((struct sockaddr_un *)NULL)->sun_path) ?
		      0 :
		      -ENAMETOOLONG;
	if (!err)
		err = vhu_frontend_new(&v->fe, &fo);
	if (!err && options->server)
		err = vhu_frontend_listen(v->fe, options->path, 0, NULL);
	else if (!err)
		err = vhu_frontend_connect(v->fe, options->path);
	if (err) {
		snprintf(text, VMM_TEXT, "%.150s: %s", options->path, strerror(-err));
		vmm_vhost_free(v);
		return err;
	}
	*ret_vhost = v;
	return 0;
}

void vmm_vhost_free(struct vmm_vhost *v)
{
	if (!v)
		return;
	vhu_frontend_free(v->fe);
	free(v);
}

void vmm_vhost_attach(struct vmm_vhost *v, struct vmm_virtio *virtio)
{
	v->virtio = virtio;
	v->mask.virtio = virtio;
	v->mask.fe = v->fe;
	v->mask.nr_rings = v->o.nr_rings;
}

int vmm_vhost_wait(struct vmm_vhost *v, int timeout_ms, char text[VMM_TEXT])
{
	struct vhu_reason why = { .text = "" };
	int err = vhu_frontend_wait(v->fe, timeout_ms, &why);

	if (err)
		snprintf(text, VMM_TEXT, "%.80s: %.110s", v->o.path,
			 why.text[0] ? why.text : strerror(-err));
	return err;
}

int vmm_vhost_has_queues(const struct vmm_vhost *v, unsigned int nr, const char *what,
			 char text[VMM_TEXT])
{
	uint64_t have = vhu_frontend_queue_num(v->fe);

	/* without MQ it says nothing, and has one */
	if (nr <= (have ? have : 1))
		return 0;
	snprintf(text, VMM_TEXT, "%.100s: the backend has %llu %s, asked were %u", v->o.path,
		 (unsigned long long)(have ? have : 1), what, nr);
	return -EOPNOTSUPP;
}

int vmm_vhost_judge_queue_size(unsigned int size, char text[VMM_TEXT])
{
	if (size >= 2 && size <= VHU_MAX_RING_SIZE && !(size & (size - 1)))
		return 0;
	snprintf(text, VMM_TEXT, "queue size %u, must be a power of two, 2 to %d", size,
		 VHU_MAX_RING_SIZE);
	return -EINVAL;
}

int vmm_vhost_fd(const struct vmm_vhost *v)
{
	return vhu_frontend_fd(v->fe);
}

int vmm_vhost_process(struct vmm_vhost *v)
{
	if (v->owes_reset)
		ask_for_reset(v);
	return vhu_frontend_process(v->fe);
}

struct vhu_frontend *vmm_vhost_frontend(const struct vmm_vhost *v)
{
	return v->fe;
}

uint64_t vmm_vhost_offered(const struct vmm_vhost *v)
{
	uint64_t now = vhu_frontend_offered(v->fe);

	return (now ? now : v->offered) & v->o.features;
}

bool vmm_vhost_is_up(const struct vmm_vhost *v)
{
	return v->is_present && v->state != FAILED;
}

const struct vmm_irq *vmm_vhost_irq(struct vmm_vhost *v, const struct vmm_irq *irq)
{
	return v->o.mask_by_message ? vmm_vhost_mask_irq(&v->mask, irq) : irq;
}
