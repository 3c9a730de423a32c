/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* ACPI tables: found from the root, summed up, within their room, and (with iasl) read by another's eyes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <vhu/memory.h>
#include <vmm/acpi.h>
#include <vmm/aml.h>
#include <vmm/platform.h>

static int setup(void **state)
{
	struct vhu_memory *memory;

	assert_int_equal(vhu_memory_new(&memory), 0);
	assert_int_equal(vhu_memory_add(memory, 0, 1 << 20, 0), 0);
	*state = memory;
	return 0;
}

static int teardown(void **state)
{
	vhu_memory_free(*state);
	return 0;
}

static uint64_t number(const uint8_t *bytes, unsigned int len)
{
	uint64_t value = 0;

	memcpy(&value, bytes, len);
	return value;
}

static uint8_t sum(const uint8_t *bytes, size_t len)
{
	uint8_t sum = 0;

	while (len--)
		sum = (uint8_t)(sum + *bytes++);
	return sum;
}

/* The table at addr, which has to lie whole in the tables' room and to sum up to 0. */
static const uint8_t *table_at(struct vhu_memory *memory, uint64_t addr, const char *signature,
			       uint32_t *ret_len)
{
	const uint8_t *table;

	assert_true(addr > VMM_ACPI_BASE && addr < VMM_ACPI_BASE + VMM_ACPI_SIZE);
	table = vhu_memory_ptr(memory, addr, 36);
	assert_non_null(table);
	*ret_len = (uint32_t)number(table + 4, 4);
	assert_true(*ret_len <= VMM_ACPI_BASE + VMM_ACPI_SIZE - addr);
	if (signature)
		assert_memory_equal(table, signature, 4);
	if (memcmp(table, "FACS", 4))
		assert_int_equal(sum(table, *ret_len), 0);
	return table;
}

static const uint8_t *find(struct vhu_memory *memory, const char *signature, uint32_t *ret_len)
{
	const uint8_t *root, *xsdt;
	uint64_t rsdp = VMM_ACPI_BASE;
	uint32_t len, at;

	root = vhu_memory_ptr(memory, rsdp, 36);
	assert_memory_equal(root, "RSD PTR ", 8);
	assert_int_equal(sum(root, 20), 0);
	assert_int_equal(sum(root, 36), 0);
	xsdt = table_at(memory, number(root + 24, 8), "XSDT", &len);
	for (at = 36; at + 8 <= len; at += 8) {
		const uint8_t *table = table_at(memory, number(xsdt + at, 8), NULL, ret_len);

		if (!memcmp(table, signature, 4))
			return table;
	}
	*ret_len = 0;
	fail_msg("no %s", signature);
	return NULL;
}

static void put(struct vhu_memory *memory, unsigned int nr_cpus)
{
	uint64_t rsdp = 0;

	assert_int_equal(vmm_acpi_put(memory, nr_cpus, &rsdp), 0);
	assert_int_equal(rsdp, VMM_ACPI_BASE);
}

static void fadt_says_where_power_and_time_are(void **state)
{
	const uint8_t *fadt;
	uint32_t len;

	put(*state, 1);
	fadt = find(*state, "FACP", &len);
	assert_int_equal(len, 276);
	assert_int_equal(number(fadt + 46, 2), VMM_IRQ_SCI);
	assert_int_equal(number(fadt + 48, 4), 0);
	assert_int_equal(number(fadt + 56, 4), VMM_PORT_PM1A_EVT);
	assert_int_equal(number(fadt + 64, 4), VMM_PORT_PM1A_CNT);
	assert_int_equal(number(fadt + 76, 4), VMM_PORT_PM_TMR);
	assert_int_equal(number(fadt + 152, 8), VMM_PORT_PM1A_EVT);
	assert_int_equal(number(fadt + 176, 8), VMM_PORT_PM1A_CNT);
	assert_int_equal(number(fadt + 212, 8), VMM_PORT_PM_TMR);
	/* the reset register: bit 10 says that there is one */
	assert_int_equal(number(fadt + 112, 4) & 1 << 10, 1 << 10);
	assert_int_equal(number(fadt + 120, 8), VMM_PORT_RESET);
	assert_int_equal(fadt[128], VMM_RESET_VALUE);
	/* not hardware-reduced */
	assert_int_equal(number(fadt + 112, 4) & 1 << 20, 0);
	table_at(*state, number(fadt + 36, 4), "FACS", &len);
	assert_int_equal(number(fadt + 36, 4) % 64, 0);
	table_at(*state, number(fadt + 140, 8), "DSDT", &len);
	assert_int_equal(number(fadt + 40, 4), number(fadt + 140, 8));
}

static void madt_has_each_cpu_and_no_other(void **state)
{
	unsigned int nr;

	for (nr = 1; nr <= VMM_MAX_CPUS; nr++) {
		unsigned int cpus = 0, pins = 0;
		const uint8_t *madt;
		uint32_t len, at;

		put(*state, nr);
		madt = find(*state, "APIC", &len);
		assert_int_equal(number(madt + 36, 4), VMM_LAPIC);
		for (at = 44; at < len; at += madt[at + 1]) {
			assert_true(madt[at + 1] >= 2 && madt[at + 1] <= len - at);
			if (madt[at] == 0) {
				assert_int_equal(madt[at + 3], cpus++);
				assert_int_equal(number(madt + at + 4, 4), 1);
			} else if (madt[at] == 1) {
				assert_int_equal(madt[at + 2], VMM_IOAPIC_ID);
				assert_int_equal(number(madt + at + 4, 4), VMM_IOAPIC);
				assert_int_equal(number(madt + at + 8, 4), pins++);
			} else if (madt[at] == 2) {
				/* the SCI: level, active high, which ISA's are not */
				assert_int_equal(madt[at + 3], VMM_IRQ_SCI);
				assert_int_equal(number(madt + at + 8, 2), 0xd);
			}
		}
		assert_int_equal(at, len);
		assert_int_equal(cpus, nr);
		assert_int_equal(pins, 1);
	}
}

static void mcfg_says_where_configuration_space_is(void **state)
{
	const uint8_t *mcfg;
	uint32_t len;

	put(*state, 1);
	mcfg = find(*state, "MCFG", &len);
	assert_int_equal(len, 60);
	assert_int_equal(number(mcfg + 44, 8), VMM_ECAM);
	assert_int_equal(number(mcfg + 52, 2), 0);
	/* as many buses as it has megabytes */
	assert_int_equal((mcfg[55] - mcfg[54] + UINT64_C(1)) << 20, VMM_ECAM_SIZE);
}

static void impossible_numbers_of_cpus_are_refused(void **state)
{
	uint64_t rsdp = 7;

	assert_int_equal(vmm_acpi_put(*state, 0, &rsdp), -EINVAL);
	assert_int_equal(vmm_acpi_put(*state, VMM_MAX_CPUS + 1, &rsdp), -EINVAL);
	assert_int_equal(rsdp, 7);
}

static void memory_that_ends_before_the_tables_is_refused(void **state)
{
	struct vhu_memory *memory;
	uint64_t rsdp = 7;

	(void)state;
	assert_int_equal(vhu_memory_new(&memory), 0);
	assert_int_equal(vmm_acpi_put(memory, 1, &rsdp), -ENOMEM);
	assert_int_equal(vhu_memory_add(memory, 0, VMM_ACPI_BASE + VMM_ACPI_SIZE - 4096, 0), 0);
	assert_int_equal(vmm_acpi_put(memory, 1, &rsdp), -ENOMEM);
	assert_int_equal(rsdp, 7);
	vhu_memory_free(memory);
}

/* Cut off anywhere, nothing is written behind the end (ASan looks on), and it is said. */
static void language_that_does_not_fit_says_so(void **state)
{
	size_t size, whole = 0;

	(void)state;
	for (size = 200; size <= 200; size--) {
		uint8_t *bytes = malloc(size + 1);
		struct vmm_aml aml = { .bytes = bytes, .size = size };
		struct vmm_aml_mark scope, package;
		struct vmm_aml_resources resources;

		assert_non_null(bytes);
		bytes[size] = 0xa5;
		scope = vmm_aml_scope(&aml, "\\_SB_");
		vmm_aml_name(&aml, "A");
		package = vmm_aml_package(&aml, 2);
		vmm_aml_integer(&aml, UINT64_MAX);
		vmm_aml_integer(&aml, 1);
		vmm_aml_end(&aml, package);
		vmm_aml_name(&aml, "_CRS");
		resources = vmm_aml_resources(&aml);
		vmm_aml_window_64(&aml, 0, UINT64_MAX / 2);
		vmm_aml_resources_end(&aml, resources);
		vmm_aml_end(&aml, scope);
		if (size == 200)
			whole = aml.len;
		assert_int_equal(aml.is_full, size < whole);
		assert_true(aml.len <= size);
		assert_int_equal(bytes[size], 0xa5);
		free(bytes);
		if (!size)
			break;
	}
}

/* Runs iasl in the current folder, what it says goes to the file "said". */
static bool iasl(const char *const *argv)
{
	int status = -1;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		int fd = open("said", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

		if (fd >= 0 && dup2(fd, 1) >= 0 && dup2(fd, 2) >= 0)
			execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

/* Adds a file's content to text. */
static void read_file(const char *path, char *text, size_t size)
{
	size_t used = strlen(text);
	FILE *file = fopen(path, "re");

	if (!file)
		return;
	used += fread(text + used, 1, size - 1 - used, file);
	text[used] = 0;
	fclose(file);
}

/* Reads a table with iasl, and what it read once more with its compiler, which is the stricter one. */
static void disassemble(const uint8_t *table, uint32_t len, char *text, size_t size)
{
	static const char *const read_it[] = { "iasl", "-d", "table", NULL };
	static const char *const compile_it[] = { "iasl", "-vr", "-p", "again", "table.dsl", NULL };
	static const char *const made[] = { "table", "table.dsl", "again.aml", "said" };
	FILE *file = fopen("table", "we");
	bool good;

	assert_non_null(file);
	assert_int_equal(fwrite(table, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
	good = iasl(read_it) && iasl(compile_it);
	*text = 0;
	read_file("said", text, size);
	read_file("table.dsl", text, size);
	if (!good || strstr(text, "Invalid") || strstr(text, "Incorrect checksum") ||
	    strstr(text, "**** "))
		fail_msg("iasl: %s", text);
	for (unsigned int i = 0; i < sizeof(made) / sizeof(*made); i++)
		unlink(made[i]);
}

static bool is_there(const char *program)
{
	char dirs[4096], *rest = dirs, *dir, path[4352];

	snprintf(dirs, sizeof(dirs), "%s", getenv("PATH") ? getenv("PATH") : "");
	while ((dir = strsep(&rest, ":")) != NULL) {
		snprintf(path, sizeof(path), "%s/%s", dir, program);
		if (!access(path, X_OK))
			return true;
	}
	return false;
}

static void has(const char *text, const char *what)
{
	if (!strstr(text, what))
		fail_msg("no '%s' in: %s", what, text);
}

static void iasl_reads_all_tables(void **state)
{
	enum {
		SIZE = 1 << 18
	};
	static const char *const signatures[] = { "FACP", "APIC", "MCFG" };
	char dir[] = "/tmp/vhu-acpi.XXXXXX", *text;
	const uint8_t *fadt, *dsdt;
	unsigned int i;
	uint32_t len;

	if (!is_there("iasl"))
		skip();
	put(*state, 3);
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chdir(dir), 0);
	text = malloc(SIZE);
	assert_non_null(text);
	for (i = 0; i < sizeof(signatures) / sizeof(*signatures); i++) {
		const uint8_t *table = find(*state, signatures[i], &len);

		disassemble(table, len, text, SIZE);
	}
	fadt = find(*state, "FACP", &len);
	dsdt = table_at(*state, number(fadt + 140, 8), "DSDT", &len);
	disassemble(dsdt, len, text, SIZE);
	has(text, "Device (PCI0)");
	has(text, "EisaId (\"PNP0A08\") /* PCI Express Bus */");
	has(text, "EisaId (\"PNP0501\")");
	has(text, "WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,");
	has(text, "0xC0000000,");
	has(text, "0xDFFFFFFF,");
	has(text, "0x0000004000000000,");
	has(text, "0x0000004FFFFFFFFF,");
	has(text, "0x001FFFFF,");
	/* SLP_TYPa; the comment in between is iasl's */
	has(text, "Name (_S5, Package (0x04)");
	has(strstr(text, "Name (_S5, Package (0x04)"), "{\n        0x05, \n        Zero, ");
	has(text, "IRQNoFlags ()\n                    {4}");
	free(text);
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(fadt_says_where_power_and_time_are, setup,
						teardown),
		cmocka_unit_test_setup_teardown(madt_has_each_cpu_and_no_other, setup, teardown),
		cmocka_unit_test_setup_teardown(mcfg_says_where_configuration_space_is, setup,
						teardown),
		cmocka_unit_test_setup_teardown(impossible_numbers_of_cpus_are_refused, setup,
						teardown),
		cmocka_unit_test(memory_that_ends_before_the_tables_is_refused),
		cmocka_unit_test(language_that_does_not_fit_says_so),
		cmocka_unit_test_setup_teardown(iasl_reads_all_tables, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
