/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* What a port on the command line means, and which of them are refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "switch/port_spec.h"

static struct sw_spec parsed(const char *text)
{
	struct sw_spec spec;
	char err[SW_ERR_MAX] = "";

	if (sw_spec_parse(text, &spec, err, sizeof(err)))
		fail_msg("%s: %s", text, err);
	return spec;
}

static void refused(const char *text, const char *words)
{
	struct sw_spec spec = { .fd = 12345 };
	char err[SW_ERR_MAX] = "";

	assert_int_equal(sw_spec_parse(text, &spec, err, sizeof(err)), -EINVAL);
	if (!strstr(err, words))
		fail_msg("%s: the reason is: %s", text, err);
	assert_int_equal(spec.fd, 12345);
}

static void a_plain_socket_is_served_with_the_defaults(void **state)
{
	struct sw_spec spec = parsed("vm-1=vhost-user:/run/vhu/vm1.sock");

	(void)state;
	assert_string_equal(spec.name, "vm-1");
	assert_int_equal(spec.kind, SW_KIND_VHOST);
	assert_string_equal(spec.target, "/run/vhu/vm1.sock");
	assert_int_equal(spec.fd, -1);
	assert_false(spec.is_client);
	assert_int_equal(spec.mode, 0);
	assert_int_equal(spec.mtu, 0);
	assert_int_equal(spec.nr_queues, SW_QUEUES_DEFAULT);
	assert_int_equal(spec.vlans.mode, SW_VLAN_UNAWARE);
}

static void every_option_of_a_socket_is_understood(void **state)
{
	struct sw_spec spec = parsed("a=vhost-user:/s,server,mode=0660,group=kvm,mtu=9000,vlan=7,"
				     "config,queues=4");

	(void)state;
	assert_int_equal(spec.mode, 0660);
	assert_string_equal(spec.group, "kvm");
	assert_int_equal(spec.mtu, 9000);
	assert_int_equal(spec.vlans.mode, SW_VLAN_ACCESS);
	assert_int_equal(spec.vlans.access, 7);
	assert_true(spec.has_config);
	assert_int_equal(spec.nr_queues, 4);
	assert_true(parsed("a=vhost-user:/s,client").is_client);
}

static void speed_and_duplex_want_a_configuration_space(void **state)
{
	struct sw_spec spec = parsed("a=vhost-user:/s,speed=10000,duplex=half,config");

	(void)state;
	assert_int_equal(spec.speed, 10000);
	assert_int_equal(spec.duplex, SW_DUPLEX_HALF);
	spec = parsed("a=vhost-user:/s,config,duplex=full,speed=2147483647");
	assert_int_equal(spec.speed, SW_SPEED_MAX);
	assert_int_equal(spec.duplex, SW_DUPLEX_FULL);
	spec = parsed("a=vhost-user:/s,config");
	assert_int_equal(spec.speed, 0);
	assert_int_equal(spec.duplex, SW_DUPLEX_UNKNOWN);
	refused("a=vhost-user:/s,speed=1000", "add config");
	refused("a=vhost-user:/s,duplex=full", "add config");
	refused("a=vhost-user:/s,config,speed=0", "between 1 and");
	refused("a=vhost-user:/s,config,speed=2147483648", "between 1 and");
	refused("a=vhost-user:/s,config,duplex=both", "neither full nor half");
	refused("a=tap:t,speed=1000", "no option for this kind");
}

static void in_band_notifications_come_with_what_they_need(void **state)
{
	struct sw_spec spec = parsed("a=vhost-user:/s,inband");

	(void)state;
	assert_true(spec.has_inband);
	assert_true(spec.has_config);
	assert_int_equal(spec.nr_queues, 1);
	assert_int_equal(parsed("a=vhost-user:/s,queues=1,inband,speed=100").nr_queues, 1);
	assert_false(parsed("a=vhost-user:/s").has_inband);
	refused("a=vhost-user:/s,inband,queues=2", "one queue pair");
	refused("a=vhost-user:/s,inband=1", "takes no value");
	refused("a=tap:t,inband", "no option for this kind");
}

static void a_socket_may_be_handed_in_by_number(void **state)
{
	(void)state;
	assert_int_equal(parsed("a=vhost-user:fd=3,mtu=1500").fd, 3);
	refused("a=vhost-user:fd=", "number of an open file");
	refused("a=vhost-user:fd=-1", "number of an open file");
	refused("a=vhost-user:fd=3,client", "handed in");
	refused("a=vhost-user:fd=3,mode=0600", "handed in");
}

static void a_trunk_is_a_list_of_ranges(void **state)
{
	struct sw_spec spec = parsed("t=tap:tap0,trunk=1-10+20+4094");
	char text[64];

	(void)state;
	assert_int_equal(spec.kind, SW_KIND_TAP);
	assert_int_equal(spec.nr_queues, 1);
	assert_true(sw_vlans_has(&spec.vlans, 1));
	assert_true(sw_vlans_has(&spec.vlans, 10));
	assert_true(sw_vlans_has(&spec.vlans, 20));
	assert_true(sw_vlans_has(&spec.vlans, 4094));
	assert_false(sw_vlans_has(&spec.vlans, 0));
	assert_false(sw_vlans_has(&spec.vlans, 11));
	sw_vlans_text(&spec.vlans, text, sizeof(text));
	assert_string_equal(text, "trunk 1-10+20+4094");
	for (size_t size = 2; size < sizeof(text); size++)
		sw_vlans_text(&spec.vlans, text, size);
}

static void vlans_out_of_range_are_refused(void **state)
{
	(void)state;
	refused("a=tap:t,vlan=0", "between 1 and 4094");
	refused("a=tap:t,vlan=4095", "between 1 and 4094");
	refused("a=tap:t,vlan=", "between 1 and 4094");
	refused("a=tap:t,vlan=5,trunk=1-3", "exclude each other");
	refused("a=tap:t,trunk=3-1", "list like");
	refused("a=tap:t,trunk=1-", "list like");
	refused("a=tap:t,trunk=-5", "list like");
	refused("a=tap:t,trunk=1++2", "list like");
	refused("a=tap:t,trunk=1-5000", "list like");
}

static void what_is_no_port_is_refused_in_words(void **state)
{
	char longest[2048];

	(void)state;
	refused("", "NAME=KIND:TARGET");
	refused("a", "NAME=KIND:TARGET");
	refused("=tap:t", "name has");
	refused("a b=tap:t", "made of letters");
	refused("a/b=tap:t", "made of letters");
	refused("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=tap:t", "name has");
	refused("a=", "the kind of a port");
	refused("a=socket:/x", "the kind of a port");
	refused("a=tap:", "nothing stands behind");
	refused("a=tap:0123456789abcdef", "at most 15");
	refused("a=tap:t,colour=red", "no such option: colour");
	refused("a=tap:t,", "no such option");
	refused("a=tap:t,queues=2", "no option for this kind");
	refused("a=pcap:f,mtu=1500", "no option for this kind");
	refused("a=vhost-user:/s,mtu=67", "between 68");
	refused("a=vhost-user:/s,mtu=0x100", "between 68");
	refused("a=vhost-user:/s,mtu", "wants a value");
	refused("a=vhost-user:/s,server=1", "takes no value");
	refused("a=vhost-user:/s,queues=0", "between 1 and 128");
	refused("a=vhost-user:/s,queues=129", "between 1 and 128");
	refused("a=vhost-user:/s,mode=0888", "octal");
	refused("a=vhost-user:/s,client,mode=0600", "not for client");
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	memcpy(longest, "a=vhost-user:/", 14);
	refused(longest, "too long");
	longest[130] = '\0';
	refused(longest, "107 bytes");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_plain_socket_is_served_with_the_defaults),
		cmocka_unit_test(every_option_of_a_socket_is_understood),
		cmocka_unit_test(speed_and_duplex_want_a_configuration_space),
		cmocka_unit_test(in_band_notifications_come_with_what_they_need),
		cmocka_unit_test(a_socket_may_be_handed_in_by_number),
		cmocka_unit_test(a_trunk_is_a_list_of_ranges),
		cmocka_unit_test(vlans_out_of_range_are_refused),
		cmocka_unit_test(what_is_no_port_is_refused_in_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
