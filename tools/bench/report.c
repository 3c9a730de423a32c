// SPDX-License-Identifier: MIT
/* The result of a measurement, as tables and as JSON; knows nothing of how it was made. */

#include "bench/report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/out.h"

struct report_side {
	struct lane_count sent, received;
	struct side_notes notes;
	uint64_t dropped, refused, chains_lost;
};

struct report {
	struct bench *bench;
	double seconds;
	struct report_side sides[BENCH_SIDES_MAX];
	struct verify_sum sum;
	struct bench_losses losses;
	bool is_closed;	  /* what was sent comes back: all that did not is lost */
	bool is_verified; /* frames were looked at */
	const char *reasons[8];
	unsigned int nr_reasons;
};

static void add_count(struct lane_count *sum, const struct lane_count *count)
{
	sum->frames += count->frames;
	sum->bytes += count->bytes;
	if (count->first_ns && (!sum->first_ns || count->first_ns < sum->first_ns))
		sum->first_ns = count->first_ns;
	if (count->last_ns > sum->last_ns)
		sum->last_ns = count->last_ns;
}

static double seconds_of(const struct lane_count *count)
{
	return count->first_ns ? (double)(count->last_ns - count->first_ns) / 1e9 : 0;
}

static double per_s(uint64_t nr, double seconds)
{
	return seconds > 0 ? (double)nr / seconds : 0;
}

static double ratio(uint64_t nr, uint64_t of)
{
	return of ? (double)nr / (double)of : 0;
}

/* ---- While it runs ---- */

void report_progress(struct bench *bench)
{
	struct lane_count now[2] = { { 0 } };
	double seconds = (double)(bench->now_ns - bench->shown_ns) / 1e9;

	for (unsigned int i = 0; i < bench->nr_sides; i++) {
		for (unsigned int k = 0; k < bench->sides[i]->nr_lanes; k++) {
			add_count(&now[0], &bench->sides[i]->lanes[k].sent);
			add_count(&now[1], &bench->sides[i]->lanes[k].received);
		}
	}
	fprintf(stderr, "\033[K%5.0f s",
		bench->begin_ns ? (double)(bench->now_ns - bench->begin_ns) / 1e9 : 0.0);
	for (int i = 0; i < 2; i++) {
		uint64_t frames = now[i].frames - bench->shown[i].frames;
		uint64_t bytes = now[i].bytes - bench->shown[i].bytes;

		if (now[i].frames)
			fprintf(stderr, "  %s %.3f Mpps %.2f Gbit/s", i ? "received" : "sent",
				per_s(frames, seconds) / 1e6, per_s(bytes, seconds) * 8 / 1e9);
		bench->shown[i] = now[i];
	}
	if (!bench_all_up(bench))
		fputs("  waiting", stderr);
	if (bench->verify.corrupt)
		fprintf(stderr, "  corrupt %" PRIu64, bench->verify.corrupt);
	/* whatever is said next begins where this line does */
	fputc('\r', stderr);
	bench->shown_ns = bench->now_ns;
}

void report_progress_end(const struct bench *bench)
{
	if (bench->on_second)
		fputs("\033[K", stderr);
}

/* ---- Judgement ---- */

static void judge(struct report *report)
{
	const struct bench *bench = report->bench;
	uint64_t chains_lost = 0;

	for (unsigned int i = 0; i < bench->nr_sides; i++)
		chains_lost += report->sides[i].chains_lost;
	if (bench->verify.corrupt)
		report->reasons[report->nr_reasons++] = "frames came back changed";
	if (report->is_closed && report->losses.lost)
		report->reasons[report->nr_reasons++] = "frames that were sent did not come back";
	if (report->is_verified && chains_lost)
		report->reasons[report->nr_reasons++] = "chains were not given back";
}

int report_new(struct report **ret_report, struct bench *bench)
{
	struct report *report = calloc(1, sizeof(*report));

	if (!report)
		return -ENOMEM;
	report->bench = bench;
	if (bench->begin_ns)
		report->seconds = (double)(bench->end_ns - bench->begin_ns) / 1e9;
	report->is_closed = bench->verify.own_only;
	report->is_verified = bench->judges;
	for (unsigned int i = 0; i < bench->nr_sides; i++) {
		struct report_side *to = &report->sides[i];
		struct side *side = bench->sides[i];

		for (unsigned int k = 0; k < side->nr_lanes; k++) {
			struct lane *lane = &side->lanes[k];

			add_count(&to->sent, &lane->sent);
			add_count(&to->received, &lane->received);
			to->dropped += lane->dropped;
			to->refused += lane->refused + (lane->rx ? vhu_net_rx_bad(lane->rx) : 0);
		}
		side_count_notes(side, &to->notes);
		/* one that has gone for good cannot give anything back */
		if (side->is_up)
			to->chains_lost = side_chains_lost(side);
	}
	verify_sum(&bench->verify, &report->sum);
	bench_losses(bench, &report->losses);
	if (!report->is_closed)
		report->losses.lost = report->sum.missing;
	judge(report);
	*ret_report = report;
	return 0;
}

void report_free(struct report *report)
{
	free(report);
}

bool report_is_good(const struct report *report)
{
	return !report->nr_reasons;
}

void report_complain(const struct report *report)
{
	for (unsigned int i = 0; i < report->nr_reasons; i++)
		log_line(LOG_ERR, NULL, "%s", report->reasons[i]);
}

/* ---- For people ---- */

static void count_row(struct out_table *table, const char *what, const struct lane_count *count)
{
	double seconds = seconds_of(count);
	char bytes[OUT_NUMBER_SIZE];

	out_cell(table, "%s", what);
	out_cell(table, "%" PRIu64, count->frames);
	out_cell(table, "%s", out_number(bytes, count->bytes));
	out_cell(table, "%.3f", seconds);
	out_cell(table, "%.3f", per_s(count->frames, seconds) / 1e6);
	out_cell(table, "%.3f", per_s(count->bytes, seconds) * 8 / 1e9);
}

static void print_features(const struct side *side, FILE *to)
{
	static const struct {
		unsigned int bit;
		const char *name;
	} names[] = {
		{ VHU_NET_F_MRG_RXBUF_BIT, "mergeable" },   { VHU_F_INDIRECT_DESC_BIT, "indirect" },
		{ VHU_F_EVENT_IDX_BIT, "event index" },	    { VHU_F_IN_ORDER_BIT, "in order" },
		{ VHU_NET_F_CSUM_BIT, "checksum offload" }, { VHU_NET_F_HOST_TSO4_BIT, "TSO" },
	};
	char text[256];
	size_t len;

	if (!side->features) {
		fputs("  nobody came\n", to);
		return;
	}
	len = (size_t)snprintf(text, sizeof(text), "%s rings",
			       side->features & VHU_MASK(VHU_F_RING_PACKED_BIT) ? "packed" :
										  "split");
	if (!side->where.is_device)
		len += (size_t)snprintf(text + len, sizeof(text) - len, " of %u",
					side->options->ring_size);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && len < sizeof(text); i++)
		if (side->features & VHU_MASK(names[i].bit))
			len += (size_t)snprintf(text + len, sizeof(text) - len, ", %s",
						names[i].name);
	fputs("  ", to);
	out_wrapped(to, 2, 2, text);
}

static int print_latency(const struct bench *bench, FILE *to)
{
	static const struct out_column columns[] = {
		{ "", 'l' },	{ "min", 'r' },	  { "50%", 'r' }, { "90%", 'r' },
		{ "99%", 'r' }, { "99.9%", 'r' }, { "max", 'r' },
	};
	static const double shares[] = { 0.5, 0.9, 0.99, 0.999, 1 };
	const struct hist *hist = &bench->latency_ns;
	struct out_table *table;
	int err;

	if (!hist->count)
		return 0;
	table = out_table_new(columns, 7);
	if (!table)
		return -ENOMEM;
	fprintf(to, "%s, %" PRIu64 " frames\n", bench->nr_sides > 1 ? "time across" : "round trip",
		hist->count);
	out_cell(table, "  microseconds");
	out_cell(table, "%.2f", (double)hist->min / 1e3);
	for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++)
		out_cell(table, "%.2f", (double)hist_percentile(hist, shares[i]) / 1e3);
	err = out_table_print(table, to);
	out_table_free(table);
	return err;
}

static void print_outages(const struct side *side, FILE *to)
{
	const struct hist *hists[] = { &side->outage_ns, &side->recovery_ns };
	static const char *const names[] = { "outage", "recovery" };

	if (!side->recoveries)
		return;
	fprintf(to, "  %u recoveries\n", side->recoveries);
	for (int i = 0; i < 2; i++)
		fprintf(to, "  %s (ms): median %.2f  99%% %.2f  max %.2f\n", names[i],
			(double)hist_percentile(hists[i], 0.5) / 1e6,
			(double)hist_percentile(hists[i], 0.99) / 1e6, (double)hists[i]->max / 1e6);
}

static int print_side(const struct report *report, unsigned int i, FILE *to)
{
	static const struct out_column columns[] = {
		{ "", 'l' },	    { "frames", 'r' }, { "bytes", 'r' },
		{ "seconds", 'r' }, { "Mpps", 'r' },   { "Gbit/s", 'r' },
	};
	const struct report_side *counts = &report->sides[i];
	const struct side *side = report->bench->sides[i];
	const struct side_notes *notes = &counts->notes;
	uint64_t frames = counts->sent.frames + counts->received.frames;
	struct out_table *table = out_table_new(columns, 6);
	char path[4096];
	int err;

	if (!table)
		return -ENOMEM;
	fprintf(to, "%s %s\n", side->where.is_device ? "frontend" : "backend",
		out_safe(path, sizeof(path), side->where.path));
	print_features(side, to);
	count_row(table, "  sent", &counts->sent);
	count_row(table, "  received", &counts->received);
	err = out_table_print(table, to);
	out_table_free(table);
	fprintf(to, "  kicks %s%" PRIu64 " (%.4f a frame), calls %s%" PRIu64 " (%.4f a frame)\n",
		notes->kicks_exact ? "" : "seen ", notes->kicks, ratio(notes->kicks, frames),
		notes->calls_exact ? "" : "seen ", notes->calls, ratio(notes->calls, frames));
	if (counts->dropped || counts->refused)
		fprintf(to, "  dropped for want of room %" PRIu64 ", refused %" PRIu64 "\n",
			counts->dropped, counts->refused);
	if (counts->chains_lost)
		fprintf(to, "  chains not given back %" PRIu64 "\n", counts->chains_lost);
	print_outages(side, to);
	return err;
}

static void print_verified(const struct report *report, FILE *to)
{
	const struct bench *bench = report->bench;
	char text[512];
	size_t len;

	if (!report->is_verified)
		return;
	fputs(bench->options.verify ? "every byte checked\n" : "numbers checked\n", to);
	if (bench->options.verify && bench->verify.plain)
		fprintf(to, "  but of %" PRIu64 ", whose sender had no --verify\n",
			bench->verify.plain);
	len = (size_t)snprintf(text, sizeof(text),
			       "%s %" PRIu64 ", lost %" PRIu64 ", duplicate %" PRIu64
			       ", out of order %" PRIu64 ", corrupt %" PRIu64 ", foreign %" PRIu64,
			       bench->options.is_tso ? "segments" : "frames", report->sum.unique,
			       report->losses.lost, report->sum.duplicates, report->sum.reordered,
			       bench->verify.corrupt, bench->verify.foreign);
	if (report->losses.at_death && len < sizeof(text))
		len += (size_t)snprintf(text + len, sizeof(text) - len,
					", lost when the other side died %" PRIu64,
					report->losses.at_death);
	if (report->losses.too_early && len < sizeof(text))
		snprintf(text + len, sizeof(text) - len, ", lost before the way was open %" PRIu64,
			 report->losses.too_early);
	fputs("  ", to);
	out_wrapped(to, 2, 2, text);
}

int report_table(const struct report *report, FILE *to)
{
	const struct bench *bench = report->bench;
	int err = 0;

	fprintf(to, "%s: %.3f s, %.3f s of processor time, %s\n",
		bench_mode_name(bench->options.mode), report->seconds, (double)bench->cpu_ns / 1e9,
		bench->options.poll ? "polling" : "notified");
	if (bench->clock.stopped_ns)
		fprintf(to, "  stood still for %.3f s, which do not count\n",
			(double)bench->clock.stopped_ns / 1e9);
	for (unsigned int i = 0; i < bench->nr_sides && !err; i++)
		err = print_side(report, i, to);
	print_verified(report, to);
	return err ? err : print_latency(bench, to);
}

/* ---- For programs ---- */

static void json_string(const char *text, FILE *to)
{
	char safe[8192];

	/* what is left after that are printable characters, valid UTF-8, quotes and backslashes */
	out_safe(safe, sizeof(safe), text);
	fputc('"', to);
	for (const char *c = safe; *c; c++) {
		if (*c == '"' || *c == '\\')
			fputc('\\', to);
		fputc(*c, to);
	}
	fputc('"', to);
}

static void json_count(const char *name, const struct lane_count *count, FILE *to)
{
	double seconds = seconds_of(count);

	fprintf(to,
		"\"%s\":{\"frames\":%" PRIu64 ",\"bytes\":%" PRIu64
		",\"seconds\":%.6f,\"mpps\":%.6f,\"gbit_per_s\":%.6f},",
		name, count->frames, count->bytes, seconds, per_s(count->frames, seconds) / 1e6,
		per_s(count->bytes, seconds) * 8 / 1e9);
}

static void json_hist(const char *name, const struct hist *hist, double unit, FILE *to)
{
	fprintf(to,
		"\"%s\":{\"count\":%" PRIu64 ",\"min\":%.4f,\"p50\":%.4f,\"p90\":%.4f,"
		"\"p99\":%.4f,\"p999\":%.4f,\"max\":%.4f}",
		name, hist->count, (double)hist->min / unit,
		(double)hist_percentile(hist, 0.5) / unit,
		(double)hist_percentile(hist, 0.9) / unit,
		(double)hist_percentile(hist, 0.99) / unit,
		(double)hist_percentile(hist, 0.999) / unit, (double)hist->max / unit);
}

static void json_side(const struct report *report, unsigned int i, FILE *to)
{
	const struct report_side *counts = &report->sides[i];
	const struct side *side = report->bench->sides[i];
	const struct side_notes *notes = &counts->notes;
	uint64_t frames = counts->sent.frames + counts->received.frames;

	fprintf(to, "{\"peer\":\"%s\",\"path\":", side->where.is_device ? "frontend" : "backend");
	json_string(side->where.path, to);
	fprintf(to, ",\"ring\":\"%s\",\"features\":\"0x%" PRIx64 "\",\"queues\":%u,",
		side->features & VHU_MASK(VHU_F_RING_PACKED_BIT) ? "packed" : "split",
		side->features, side->nr_lanes);
	if (!side->where.is_device)
		fprintf(to, "\"ring_size\":%u,", side->options->ring_size);
	json_count("sent", &counts->sent, to);
	json_count("received", &counts->received, to);
	fprintf(to,
		"\"kicks\":%" PRIu64 ",\"kicks_exact\":%s,\"kicks_per_frame\":%.6f,"
		"\"calls\":%" PRIu64 ",\"calls_exact\":%s,\"calls_per_frame\":%.6f,",
		notes->kicks, notes->kicks_exact ? "true" : "false", ratio(notes->kicks, frames),
		notes->calls, notes->calls_exact ? "true" : "false", ratio(notes->calls, frames));
	fprintf(to,
		"\"dropped\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"chains_lost\":%" PRIu64
		",\"connections\":%u,\"recoveries\":%u,",
		counts->dropped, counts->refused, counts->chains_lost, side->connections,
		side->recoveries);
	json_hist("outage_ms", &side->outage_ns, 1e6, to);
	fputc(',', to);
	json_hist("recovery_ms", &side->recovery_ns, 1e6, to);
	fputc('}', to);
}

void report_json(const struct report *report, FILE *to)
{
	const struct bench *bench = report->bench;
	const struct bench_options *options = &bench->options;

	fprintf(to, "{\"mode\":\"%s\",\"ok\":%s,\"seconds\":%.6f,\"stopped_seconds\":%.6f,",
		bench_mode_name(options->mode),
		report_is_good(report) && !bench->failed ? "true" : "false", report->seconds,
		(double)bench->clock.stopped_ns / 1e9);
	fprintf(to, "\"cpu_seconds\":%.6f,\"poll\":%s,", (double)bench->cpu_ns / 1e9,
		options->poll ? "true" : "false");
	if (options->is_imix)
		fputs("\"size\":\"imix\",", to);
	else
		fprintf(to, "\"size\":%u,", options->size);
	fputs("\"sides\":[", to);
	for (unsigned int i = 0; i < bench->nr_sides; i++) {
		if (i)
			fputc(',', to);
		json_side(report, i, to);
	}
	fputs("],\"verify\":", to);
	if (report->is_verified)
		fprintf(to,
			"{\"bytes\":%s,\"unit\":\"%s\",\"unique\":%" PRIu64 ",\"lost\":%" PRIu64
			",\"lost_at_death\":%" PRIu64 ",\"lost_before_open\":%" PRIu64
			",\"duplicates\":%" PRIu64 ",\"reordered\":%" PRIu64 ",\"corrupt\":%" PRIu64
			",\"foreign\":%" PRIu64 ",\"without_pattern\":%" PRIu64 "},",
			options->verify ? "true" : "false", options->is_tso ? "segment" : "frame",
			report->sum.unique, report->losses.lost, report->losses.at_death,
			report->losses.too_early, report->sum.duplicates, report->sum.reordered,
			bench->verify.corrupt, bench->verify.foreign,
			options->verify ? bench->verify.plain : 0);
	else
		fputs("null,", to);
	if (bench->options.mode == BENCH_LATENCY)
		json_hist("latency_us", &bench->latency_ns, 1e3, to);
	else
		fputs("\"latency_us\":null", to);
	fputs(",\"reasons\":[", to);
	for (unsigned int i = 0; i < report->nr_reasons; i++)
		fprintf(to, "%s\"%s\"", i ? "," : "", report->reasons[i]);
	fputs("]}\n", to);
}
