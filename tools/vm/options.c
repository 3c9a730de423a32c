// SPDX-License-Identifier: MIT
/* Takes the command line of vhu vm apart, and says what is wrong with it. */

#include "vm/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "common/opt.h"

enum {
	OPT_KERNEL = 256,
	OPT_INITRD,
	OPT_APPEND,
	OPT_MEM,
	OPT_CPUS,
	OPT_HUGE,
	OPT_NET,
	OPT_BLK,
	OPT_TRACE,
	OPT_JSON,
	OPT_NO_SANDBOX,

	DEFAULT_MIB = 256,
	MAX_CPUS = 8,
	MAX_QUEUES = 64,
	MIN_MTU = 68, /* virtio 1.2, 5.1.4.1 */
};

static const char usage[] =
	"usage: vhu vm --kernel FILE [OPTION]...\n"
	"\n"
	"Boots a Linux guest whose devices are on vhost-user sockets. Its console is\n"
	"this terminal: Ctrl-A x ends it, Ctrl-A Ctrl-A sends a Ctrl-A.\n"
	"\n"
	"      --kernel FILE    a bzImage, or an uncompressed image with a PVH entry\n"
	"      --initrd FILE    its initial file system\n"
	"      --append TEXT    its command line (a console: console=ttyS0)\n"
	"      --mem SIZE       memory: 512M, 4G, or a number of MiB (default 256M)\n"
	"      --cpus N         vCPUs, 1 to 8 (default 1)\n"
	"      --huge           memory of huge pages of 2 MiB\n"
	"      --net vhost-user:PATH[,OPTION]...    a network device, up to 8 devices\n"
	"      --blk vhost-user:PATH[,OPTION]...    a block device\n"
	"         ,server       listen on PATH, and wait for the backend to connect\n"
	"         ,reconnect    nobody is there: wait (else: fail)\n"
	"         ,queues=N     queue pairs, or queues of a block device\n"
	"         ,packed       offer packed rings\n"
	"         ,mac=ADDRESS  ,mtu=N    of a network device\n"
	"      --trace walk     print each exit's way through the machine, with times;\n"
	"                       doorbells come by here, too, then\n"
	"      --json           the end, and the trace, as JSON on standard error\n"
	"      --no-sandbox     no system call filter (for debuggers)\n"
	"  -v, --verbose        more lines; -q, --quiet: warnings and errors alone\n"
	"  -h, --help           this text\n"
	"\n"
	"SIGUSR1: prints how often vCPUs came back to this program (exits).\n"
	"\n"
	"Exit status: 0 the guest switched itself off or reset itself, or was ended here;\n"
	"1 it crashed, or could not be started; 2 the command line is wrong.\n";

static const struct option longs[] = {
	{ "kernel", required_argument, NULL, OPT_KERNEL },
	{ "initrd", required_argument, NULL, OPT_INITRD },
	{ "append", required_argument, NULL, OPT_APPEND },
	{ "mem", required_argument, NULL, OPT_MEM },
	{ "cpus", required_argument, NULL, OPT_CPUS },
	{ "huge", no_argument, NULL, OPT_HUGE },
	{ "net", required_argument, NULL, OPT_NET },
	{ "blk", required_argument, NULL, OPT_BLK },
	{ "trace", required_argument, NULL, OPT_TRACE },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "no-sandbox", no_argument, NULL, OPT_NO_SANDBOX },
	{ "verbose", no_argument, NULL, 'v' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

struct parser {
	struct opt opt;
	struct vm_options *options;
};

/* "512M", "4G", "512". */
static int set_memory(struct parser *parser, const char *text)
{
	size_t len = strlen(text);
	unsigned int shift = 20;
	char digits[16];
	uint64_t number;

	if (len && text[len - 1] == 'G')
		shift = 30;
	if (len && (text[len - 1] == 'G' || text[len - 1] == 'M'))
		len--;
	snprintf(digits, sizeof(digits), "%.*s", (int)(len < sizeof(digits) ? len : 0), text);
	if (!opt_number(digits, 1, UINT64_MAX >> 40, &number))
		return opt_error(&parser->opt, "--mem", "%s: no size like 512M or 4G", text);
	parser->options->memory_size = number << shift;
	return 0;
}

static int set_cpus(struct parser *parser, const char *text)
{
	uint64_t number;

	if (!opt_number(text, 1, MAX_CPUS, &number))
		return opt_error(&parser->opt, "--cpus", "%s: no number from 1 to %d", text,
				 MAX_CPUS);
	parser->options->nr_cpus = (unsigned int)number;
	return 0;
}

/* ---- --net, --blk ---- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_mac(const char *text, uint8_t ret_mac[6])
{
	if (strlen(text) != 17)
		return false;
	for (unsigned int i = 0; i < 6; i++, text += 3) {
		int high = hex_digit(text[0]), low = hex_digit(text[1]);

		if (high < 0 || low < 0 || text[2] != (i < 5 ? ':' : '\0'))
			return false;
		ret_mac[i] = (uint8_t)(high << 4 | low);
	}
	/* A group's address is nobody's own. */
	return !(ret_mac[0] & 1);
}

/* NULL: all well. Else what is wrong with this word. */
static const char *set_device_word(struct vm_device *device, const char *word)
{
	uint64_t number;

	if (!strcmp(word, "server")) {
		device->server = true;
	} else if (!strcmp(word, "reconnect")) {
		device->reconnect = true;
	} else if (!strcmp(word, "packed")) {
		device->packed = true;
	} else if (!strncmp(word, "queues=", 7)) {
		if (!opt_number(word + 7, 1, MAX_QUEUES, &number))
			return "no number from 1 to 64";
		device->queues = (unsigned int)number;
	} else if (!strncmp(word, "mac=", 4) && !device->is_blk) {
		if (!is_mac(word + 4, device->mac))
			return "no MAC address of one device, like 52:54:00:12:34:56";
		device->has_mac = true;
	} else if (!strncmp(word, "mtu=", 4) && !device->is_blk) {
		if (!opt_number(word + 4, MIN_MTU, UINT16_MAX, &number))
			return "no number from 68 to 65535";
		device->mtu = (uint16_t)number;
	} else {
		return device->is_blk ? "none of server, reconnect, queues=, packed" :
					"none of server, reconnect, queues=, packed, mac=, mtu=";
	}
	return NULL;
}

static unsigned int nr_of_kind(const struct vm_options *options, bool is_blk)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < options->nr_devices; i++)
		nr += options->devices[i].is_blk == is_blk;
	return nr;
}

static int add_device(struct parser *parser, const char *option, bool is_blk, const char *spec)
{
	static const char kind[] = "vhost-user:";
	struct vm_options *options = parser->options;
	struct vm_device *device = &options->devices[options->nr_devices];
	char *rest, *word;

	if (options->nr_devices == VM_MAX_DEVICES)
		return opt_error(&parser->opt, option, "more than %d devices", VM_MAX_DEVICES);
	if (strncmp(spec, kind, strlen(kind)) || !spec[strlen(kind)] || spec[strlen(kind)] == ',')
		return opt_error(&parser->opt, option, "%s: not vhost-user:PATH", spec);
	*device = (struct vm_device){ .is_blk = is_blk };
	snprintf(device->name, sizeof(device->name), "%s%u", is_blk ? "blk" : "net",
		 nr_of_kind(options, is_blk));
	device->path = strdup(spec + strlen(kind));
	if (!device->path)
		return opt_error(&parser->opt, option, "no memory");
	options->nr_devices++;
	rest = strchr(device->path, ',');
	if (rest)
		*rest++ = '\0';
	while ((word = strsep(&rest, ",")) != NULL) {
		const char *wrong = set_device_word(device, word);

		if (wrong)
			return opt_error(&parser->opt, option, "%s: %s", word, wrong);
	}
	return 0;
}

/* ---- All ---- */

static int take_option(struct parser *parser, int val)
{
	struct vm_options *options = parser->options;

	switch (val) {
	case OPT_KERNEL:
		options->kernel = optarg;
		return 0;
	case OPT_INITRD:
		options->initrd = optarg;
		return 0;
	case OPT_APPEND:
		options->append = optarg;
		return 0;
	case OPT_MEM:
		return set_memory(parser, optarg);
	case OPT_CPUS:
		return set_cpus(parser, optarg);
	case OPT_HUGE:
		options->with_huge_pages = true;
		return 0;
	case OPT_NET:
		return add_device(parser, "--net", false, optarg);
	case OPT_BLK:
		return add_device(parser, "--blk", true, optarg);
	case OPT_TRACE:
		options->trace_walk = true;
		return strcmp(optarg, "walk") ?
			       opt_error(&parser->opt, "--trace", "%s: not walk", optarg) :
			       0;
	case OPT_JSON:
		options->json = true;
		return 0;
	case OPT_NO_SANDBOX:
		options->with_sandbox = false;
		return 0;
	case 'v':
		options->log_level = LOG_DEBUG;
		return 0;
	case 'q':
		options->log_level = LOG_WARNING;
		return 0;
	default:
		return OPT_EXIT;
	}
}

int vm_options_parse(struct vm_options *ret_options, int argc, char **argv)
{
	struct parser parser = {
		.opt = {
			.program = "vhu vm",
			.help = "vhu help vm",
			.shorts = "vqh",
			.longs = longs,
			.argc = argc,
			.argv = argv,
		},
		.options = ret_options,
	};
	const char *word;
	int val;

	*ret_options = (struct vm_options){
		.append = "",
		.memory_size = (uint64_t)DEFAULT_MIB << 20,
		.nr_cpus = 1,
		.with_sandbox = true,
		.log_level = LOG_NOTICE,
	};
	opt_begin(&parser.opt);
	while ((val = opt_next(&parser.opt)) != OPT_END) {
		int status;

		if (val == 'h') {
			fputs(usage, stdout);
			return 0;
		}
		status = take_option(&parser, val);
		if (status)
			return status;
	}
	word = opt_rest(&parser.opt);
	if (word)
		return opt_error(&parser.opt, word, "everything here is an option: --kernel %s?",
				 word);
	if (!ret_options->kernel)
		return opt_error(&parser.opt, "--kernel", "one is needed");
	return OPT_END;
}

void vm_options_free(struct vm_options *options)
{
	for (unsigned int i = 0; i < options->nr_devices; i++)
		free(options->devices[i].path);
}
