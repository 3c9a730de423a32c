/* SPDX-License-Identifier: MIT */
/*
 * Payloads as text and as values, by the field lists of the request table. It never judges a
 * message: what is too short simply has fewer fields.
 */
#include <vhu/wire.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <base/bits.h>

enum {
	MAX_DUMP = 16
}; /* bytes of a payload without fields that are shown */

/* Text that is cut at the buffer's end while its length is counted on, as snprintf does. */
struct text {
	char *buf;
	size_t size, len;
};

static void VHU_PRINTF(2, 3) put(struct text *text, const char *fmt, ...)
{
	size_t left = text->len < text->size ? text->size - text->len : 0;
	va_list args;
	int len;

	va_start(args, fmt);
	len = vsnprintf(left ? text->buf + text->len : NULL, left, fmt, args);
	va_end(args);
	if (len > 0)
		text->len += (size_t)len;
}

static void put_comma(struct text *text)
{
	if (text->len)
		put(text, ", ");
}

/* The whole number in the largest unit that leaves no rest. */
static void put_bytes(struct text *text, uint64_t bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	unsigned int unit = 0;

	while (bytes && !(bytes % 1024) && unit + 1 < VHU_ARRAY_SIZE(units)) {
		bytes /= 1024;
		unit++;
	}
	put(text, "%llu %s", (unsigned long long)bytes, units[unit]);
}

static void put_bits(struct text *text, uint64_t bits, const char *(*name_of)(unsigned int bit))
{
	const char *between = " (";

	put(text, "0x%llx", (unsigned long long)bits);
	for (unsigned int bit = 0; bit < 64; bit++) {
		const char *name;

		if (!vhu_has_bit(bits, bit))
			continue;
		name = name_of(bit);
		if (name)
			put(text, "%s%s", between, name);
		else
			put(text, "%sbit %u", between, bit);
		between = " ";
	}
	if (bits)
		put(text, ")");
}

static void put_value(struct text *text, enum vhu_field_kind kind, uint64_t value)
{
	uint8_t mac[sizeof(value)];

	switch (kind) {
	case VHU_FIELD_HEX:
		put(text, "0x%llx", (unsigned long long)value);
		break;
	case VHU_FIELD_BYTES:
		put_bytes(text, value);
		break;
	case VHU_FIELD_FEATURES:
		put_bits(text, value, vhu_feature_name);
		break;
	case VHU_FIELD_PROTOCOL_FEATURES:
		put_bits(text, value, vhu_protocol_feature_name);
		break;
	case VHU_FIELD_STATUS:
		put_bits(text, value, vhu_status_name);
		break;
	case VHU_FIELD_MAC: /* its first byte is the first on the wire */
		memcpy(mac, &value, sizeof(mac));
		put(text, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
		    mac[5]);
		break;
	case VHU_FIELD_DEC:
	case VHU_FIELD_RING:
	case VHU_FIELD_FLAG:
		put(text, "%llu", (unsigned long long)value);
		break;
	}
}

static void put_dump(struct text *text, const uint8_t *bytes, uint32_t size)
{
	uint32_t shown = vhu_min_u32(size, MAX_DUMP);

	put_comma(text);
	put(text, "%u bytes:", size);
	for (uint32_t i = 0; i < shown; i++)
		put(text, " %02x", bytes[i]);
	if (shown < size)
		put(text, " ...");
}

static void put_uuid(struct text *text, const uint8_t *uuid)
{
	put(text, "uuid ");
	for (unsigned int i = 0; i < 16; i++)
		put(text, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
}

static uint32_t payload_size(const struct vhu_msg *msg)
{
	return vhu_min_u32(msg->hdr.size, VHU_MSG_MAX_PAYLOAD);
}

/* The kind of payload that stands in a message; NONE for an unknown request. */
static enum vhu_payload payload_of(enum vhu_channel channel, const struct vhu_msg *msg,
				   bool is_reply)
{
	const struct vhu_request_row *row = vhu_request_row(channel, msg->hdr.request);

	if (!row)
		return VHU_PAYLOAD_NONE;
	if (!is_reply) {
		/* In postcopy the frontend acknowledges the table that came back. */
		if (row->payload == VHU_PAYLOAD_MEM_TABLE && msg->hdr.size == sizeof(uint64_t))
			return VHU_PAYLOAD_ACK;
		return row->payload;
	}
	/* In postcopy the table comes back, with the backend's addresses. */
	if (row->payload == VHU_PAYLOAD_MEM_TABLE && msg->hdr.size > sizeof(uint64_t))
		return VHU_PAYLOAD_MEM_TABLE;
	return row->reply_payload;
}

static uint64_t read_field(const struct vhu_msg *msg, const struct vhu_field *field)
{
	const uint8_t *at = msg->bytes + field->offset;
	uint16_t u16;
	uint32_t u32;
	uint64_t u64;

	switch (field->width) {
	case 1:
		return at[0];
	case 2:
		memcpy(&u16, at, sizeof(u16));
		return u16;
	case 4:
		memcpy(&u32, at, sizeof(u32));
		return u32;
	default:
		memcpy(&u64, at, sizeof(u64));
		return u64;
	}
}

void vhu_wire_each_field(enum vhu_channel channel, const struct vhu_msg *msg, bool is_reply,
			 void (*fn)(void *arg, const struct vhu_field *field, uint64_t value),
			 void *arg)
{
	const struct vhu_payload_row *row = vhu_payload_row(payload_of(channel, msg, is_reply));

	for (const struct vhu_field *field = row->fields; field->name; field++)
		if (vhu_range_within(field->offset, field->width, payload_size(msg)))
			fn(arg, field, read_field(msg, field));
}

static void put_field(void *arg, const struct vhu_field *field, uint64_t value)
{
	struct text *text = arg;

	if (field->kind == VHU_FIELD_FLAG) {
		if (value) {
			put_comma(text);
			put(text, "%s", field->name);
		}
		return;
	}
	put_comma(text);
	put(text, "%s ", field->name);
	put_value(text, field->kind, value);
}

size_t vhu_wire_text(enum vhu_channel channel, const struct vhu_msg *msg, bool is_reply, char *buf,
		     size_t size)
{
	enum vhu_payload payload = payload_of(channel, msg, is_reply);
	uint32_t have = payload_size(msg), config = offsetof(struct vhu_config, bytes);
	struct text text = { .buf = buf, .size = size };

	if (size)
		buf[0] = '\0';
	if (payload == VHU_PAYLOAD_ACK && have == sizeof(uint64_t)) {
		if (msg->u64)
			put(&text, "error %llu", (unsigned long long)msg->u64);
		else
			put(&text, "ok");
		return text.len;
	}
	if (payload == VHU_PAYLOAD_UUID && have == sizeof(msg->uuid)) {
		put_uuid(&text, msg->uuid);
		return text.len;
	}
	vhu_wire_each_field(channel, msg, is_reply, put_field, &text);
	if (payload == VHU_PAYLOAD_CONFIG && have > config)
		put_dump(&text, msg->config.bytes, have - config);
	else if (!text.len && have)
		put_dump(&text, msg->bytes, have);
	return text.len;
}

size_t vhu_wire_region_text(const struct vhu_region *region, char *buf, size_t size)
{
	struct text text = { .buf = buf, .size = size };

	if (size)
		buf[0] = '\0';
	put(&text, "gpa 0x%llx, size ", (unsigned long long)region->gpa);
	put_bytes(&text, region->size);
	put(&text, ", uva 0x%llx, offset 0x%llx", (unsigned long long)region->uva,
	    (unsigned long long)region->mmap_offset);
	return text.len;
}
