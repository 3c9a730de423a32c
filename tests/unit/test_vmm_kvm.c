// SPDX-License-Identifier: MIT
/* tier: fast */
/* tsan */
/*
 * A guest of a few instructions on /dev/kvm: its accesses reach the buses, its doorbells the eventfds,
 * interrupts reach it, and it can be stopped. Skipped where there is no KVM.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include <vmm/kvm.h>
#include <vmm/platform.h>
#include <vmm/vcpu.h>

/*
 * The guests, of 32 bits, flat, without paging, but for the one that takes interrupts; they run at
 * 0x10000. Memory: 0x500 GDT, 0x700 what lidt reads, 0x900 interrupts taken, 0x1000 IDT; the stack ends
 * at 0x8000, page tables begin at 0x20000. They talk to port 0x5000 and to
 * memory at 0xd0000000; doorbells are at 0xd0001000.
 */
__asm__(".pushsection .rodata\n"
	".code32\n"
	".globl guest_begin, guest_access, guest_string, guest_irq, guest_doorbell, guest_spin\n"
	".globl guest_crash, guest_handler, guest_end\n"
	"guest_begin:\n"
	/* Accesses of each size, of ports and of memory. What was read goes out by the port. */
	"guest_access:\n"
	"	movw $0x5000, %dx\n"
	"	movb $0x41, %al\n"
	"	outb %al, (%dx)\n"
	"	movw $0x4243, %ax\n"
	"	outw %ax, (%dx)\n"
	"	movl $0x44454647, %eax\n"
	"	outl %eax, (%dx)\n"
	"	inl (%dx), %eax\n"
	"	outl %eax, (%dx)\n"
	"	movl $0xd0000000, %ebx\n"
	"	movb $0x11, (%ebx)\n"
	"	movw $0x2233, 2(%ebx)\n"
	"	movl $0x44556677, 4(%ebx)\n"
	"	movl 8(%ebx), %eax\n"
	"	outl %eax, (%dx)\n"
	/* Where nobody is. */
	"	movl 0x100000(%ebx), %eax\n"
	"	outl %eax, (%dx)\n"
	"1:	hlt\n"
	"	jmp 1b\n"
	/* One instruction, three accesses: in, and what came in out again. */
	"guest_string:\n"
	"	movl $0x940, %edi\n"
	"	movl $3, %ecx\n"
	"	movw $0x5000, %dx\n"
	"	cld\n"
	"	rep insb\n"
	"	movl $0x940, %esi\n"
	"	movl $3, %ecx\n"
	"	rep outsb\n"
	"	movb $0x21, %al\n"
	"	outb %al, (%dx)\n"
	"1:	hlt\n"
	"	jmp 1b\n"
	/* Of 64 bits: says how many interrupts it took whenever that changes. */
	".code64\n"
	"guest_irq:\n"
	"	movl $0xfee00000, %esi\n"
	"	movl $0x1ff, 0xf0(%rsi)\n" /* the local APIC is on */
	"	movl $0xfec00000, %edi\n"  /* I/O APIC: pin 20 is the vector, an edge */
	"	movl $0x39, (%rdi)\n"
	"	movl $0, 0x10(%rdi)\n"
	"	movl $0x38, (%rdi)\n"
	"	movl $0x41, 0x10(%rdi)\n"
	"	lidt 0x700\n"
	"	xorl %ebx, %ebx\n"
	"	movw $0x5000, %dx\n"
	"	movl %ebx, %eax\n"
	"	outl %eax, (%dx)\n" /* ready */
	"1:	cli\n"
	"	movl 0x900, %eax\n"
	"	cmpl %eax, %ebx\n"
	"	jne 2f\n"
	"	sti\n"
	"	hlt\n"
	"	jmp 1b\n"
	"2:	movl %eax, %ebx\n"
	"	outl %eax, (%dx)\n"
	"	jmp 1b\n"
	"guest_handler:\n"
	"	incl 0x900\n"
	"	movl $0, 0xb0(%rsi)\n" /* end of interrupt */
	"	iretq\n"
	".code32\n"
	/* Rings the doorbell a thousand times, says so, and again. */
	"guest_doorbell:\n"
	"	movl $0xd0001000, %ebx\n"
	"	movw $0x5000, %dx\n"
	"1:	movl $1000, %ecx\n"
	"2:	movw %cx, (%ebx)\n"
	"	decl %ecx\n"
	"	jnz 2b\n"
	"	outb %al, (%dx)\n"
	"	hlt\n"
	"	jmp 1b\n"
	"guest_spin:\n"
	"	movw $0x5000, %dx\n"
	"	outb %al, (%dx)\n"
	"1:	jmp 1b\n"
	/* No table of interrupts, an instruction that is none. */
	"guest_crash:\n"
	"	ud2\n"
	"guest_end:\n"
	".code64\n"
	".popsection\n");

extern const uint8_t guest_begin[], guest_access[], guest_string[], guest_irq[], guest_doorbell[],
	guest_spin[], guest_crash[], guest_handler[], guest_end[];

enum {
	LOAD = 0x10000,
	STACK = 0x8000,
	GDT = 0x500,
	LIDT = 0x700,
	IDT = 0x1000,
	VECTOR = 0x41,
	PAGES = 0x20000,
	PORT = 0x5000,
	MAX_SEEN = 64,
	PATIENCE_S = 20,
};
#define MMIO UINT64_C(0xd0000000)
#define DOORBELL UINT64_C(0xd0001000)

static const struct vmm_msi message = { .addr = VMM_LAPIC, .data = VECTOR };

struct seen {
	char where; /* 'p' port, 'm' memory */
	uint64_t offset, value;
	unsigned int size;
};

struct world {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	struct vhu_memory *memory;
	struct vmm_kvm *kvm;
	struct vmm_bus *mmio, *port;
	struct vmm_vcpu *vcpu;
	struct vmm_range mmio_range, port_range;
	/* Under the lock. */
	struct seen seen[MAX_SEEN];
	unsigned int nr_seen, nr_bytes_read;
	bool ended;
	enum vmm_vcpu_end end;
	char text[VMM_TEXT];
};

/* ---- The world around the guest ---- */

static void note(struct world *world, char where, uint64_t offset, unsigned int size,
		 uint64_t value)
{
	if (world->nr_seen < MAX_SEEN)
		world->seen[world->nr_seen++] = (struct seen){ where, offset, value, size };
	pthread_cond_broadcast(&world->cond);
}

static void write_port(void *arg, uint64_t offset, unsigned int size, uint64_t value)
{
	note(arg, 'p', offset, size, value);
}

static uint64_t read_port(void *arg, uint64_t offset, unsigned int size)
{
	struct world *world = arg;

	(void)offset;
	return size == 4 ? 0xfeedbeef : 'a' + world->nr_bytes_read++;
}

static void write_mmio(void *arg, uint64_t offset, unsigned int size, uint64_t value)
{
	note(arg, 'm', offset, size, value);
}

static uint64_t read_mmio(void *arg, uint64_t offset, unsigned int size)
{
	(void)arg;
	return size == 4 && offset == 8 ? 0x0badcafe : 0;
}

static const struct vmm_range_ops port_ops = {
	.read = read_port,
	.write = write_port,
	.min_size = 1,
	.max_size = 4,
};
static const struct vmm_range_ops mmio_ops = {
	.read = read_mmio,
	.write = write_mmio,
	.min_size = 1,
	.max_size = 8,
};

static void on_ended(void *arg, unsigned int cpu, enum vmm_vcpu_end end, const char *text)
{
	struct world *world = arg;

	(void)cpu;
	pthread_mutex_lock(&world->lock);
	world->ended = true;
	world->end = end;
	snprintf(world->text, sizeof(world->text), "%s", text);
	pthread_cond_broadcast(&world->cond);
	pthread_mutex_unlock(&world->lock);
}

/* Waits until nr accesses were seen, or, if nr is 0, until it ended. False: neither came. */
static bool wait_for(struct world *world, unsigned int nr)
{
	struct timespec until;
	bool is_there;
	int err = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PATIENCE_S;
	pthread_mutex_lock(&world->lock);
	while (!err && !world->ended && (!nr || world->nr_seen < nr))
		err = pthread_cond_timedwait(&world->cond, &world->lock, &until);
	is_there = nr ? world->nr_seen >= nr : world->ended;
	if (!is_there)
		print_error("%u accesses were seen; it %s %s\n", world->nr_seen,
			    world->ended ? "ended:" : "runs", world->text);
	pthread_mutex_unlock(&world->lock);
	return is_there;
}

static void assert_seen(struct world *world, unsigned int i, char where, uint64_t offset,
			unsigned int size, uint64_t value)
{
	assert_true(wait_for(world, i + 1));
	pthread_mutex_lock(&world->lock);
	assert_int_equal(world->seen[i].where, where);
	assert_int_equal(world->seen[i].offset, offset);
	assert_int_equal(world->seen[i].size, size);
	assert_int_equal(world->seen[i].value, value);
	pthread_mutex_unlock(&world->lock);
}

/* Four levels, the lowest 4 GiB to themselves, in pages of 2 MiB. */
static void put_pages(struct vhu_memory *memory)
{
	enum {
		PRESENT_WRITABLE = 3,
		LARGE = 0x80,
		PAGE = 4096
	};
	uint64_t *pages = vhu_memory_ptr(memory, PAGES, 6 * PAGE);

	pages[0] = (PAGES + PAGE) | PRESENT_WRITABLE;
	for (uint64_t i = 0; i < 4; i++)
		pages[512 + i] = (PAGES + (2 + i) * PAGE) | PRESENT_WRITABLE;
	for (uint64_t i = 0; i < 4 * 512; i++)
		pages[1024 + i] = i << 21 | LARGE | PRESENT_WRITABLE;
}

static void put_tables(struct vhu_memory *memory, bool is_64)
{
	const uint64_t code = is_64 ? 0x00af9b000000ffff : 0x00cf9b000000ffff;
	const uint64_t gdt[] = { 0, 0, code, 0x00cf93000000ffff, 0x00008b0006000067, 0 };
	const uint32_t handler = LOAD + (uint32_t)(guest_handler - guest_begin);
	/* Of the descriptor: offset, selector, interrupt gate, offset. */
	const uint16_t gate[] = { (uint16_t)handler, VMM_BOOT_CODE, 0x8e00,
				  (uint16_t)(handler >> 16) };
	const uint16_t lidt[] = { (VECTOR + 1) * 16 - 1, IDT, 0, 0, 0 };

	memcpy(vhu_memory_ptr(memory, GDT, sizeof(gdt)), gdt, sizeof(gdt));
	memcpy(vhu_memory_ptr(memory, IDT + VECTOR * 16, sizeof(gate)), gate, sizeof(gate));
	memcpy(vhu_memory_ptr(memory, LIDT, sizeof(lidt)), lidt, sizeof(lidt));
	memcpy(vhu_memory_ptr(memory, LOAD, (size_t)(guest_end - guest_begin)), guest_begin,
	       (size_t)(guest_end - guest_begin));
	put_pages(memory);
}

static bool has_kvm(void)
{
	int fd = open(VMM_KVM_PATH, O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
	else
		print_message("skipped: " VMM_KVM_PATH ": %s\n", strerror(errno));
	return fd >= 0;
}

static void add_range(struct vmm_bus *bus, struct vmm_range *range, uint64_t base, uint64_t size,
		      const struct vmm_range_ops *ops, struct world *world)
{
	*range = (struct vmm_range){
		.base = base, .size = size, .name = "test", .ops = ops, .arg = world
	};
	assert_int_equal(vmm_bus_add(bus, range, NULL), 0);
}

static int setup(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	struct vmm_vcpu_options options = { .nr_cpus = 1, .lock = &world->lock, .arg = world };
	char text[VMM_TEXT];

	*state = NULL;
	if (!has_kvm()) {
		free(world);
		return 0;
	}
	pthread_mutex_init(&world->lock, NULL);
	pthread_cond_init(&world->cond, NULL);
	assert_int_equal(vhu_memory_new(&world->memory), 0);
	assert_int_equal(vhu_memory_add(world->memory, 0, 1 << 20, 0), 0);
	assert_int_equal(vmm_kvm_new(&world->kvm, VMM_KVM_PATH, text), 0);
	assert_int_equal(vmm_kvm_set_memory(world->kvm, world->memory, text), 0);
	world->mmio = vmm_bus_new("mmio", NULL);
	world->port = vmm_bus_new("port", NULL);
	add_range(world->port, &world->port_range, PORT, 8, &port_ops, world);
	add_range(world->mmio, &world->mmio_range, MMIO, 0x2000, &mmio_ops, world);
	options.kvm = world->kvm;
	options.mmio = world->mmio;
	options.port = world->port;
	options.ended = on_ended;
	assert_int_equal(vmm_vcpu_new(&world->vcpu, &options, text), 0);
	*state = world;
	return 0;
}

static int teardown(void **state)
{
	struct world *world = *state;

	if (!world)
		return 0;
	vmm_vcpu_free(world->vcpu);
	vmm_bus_free(world->port);
	vmm_bus_free(world->mmio);
	vmm_kvm_free(world->kvm);
	vhu_memory_free(world->memory);
	pthread_cond_destroy(&world->cond);
	pthread_mutex_destroy(&world->lock);
	free(world);
	return 0;
}

static struct world *world_of(void **state)
{
	if (!*state) {
		skip();
		abort(); /* never: skip() does not come back */
	}
	return *state;
}

static struct world *begin(void **state, const uint8_t *guest)
{
	const struct vmm_boot_entry entry = {
		.mode = guest == guest_irq ? VMM_BOOT_LINUX64 : VMM_BOOT_PVH,
		.rip = LOAD + (uint64_t)(guest - guest_begin),
		.rsp = STACK,
		.gdt = GDT,
		.tss = 0x600,
		.cr3 = PAGES,
	};
	struct world *world = world_of(state);
	char text[VMM_TEXT];

	put_tables(world->memory, entry.mode == VMM_BOOT_LINUX64);
	assert_int_equal(vmm_vcpu_enter(world->vcpu, &entry, text), 0);
	assert_int_equal(vmm_vcpu_start(world->vcpu), 0);
	return world;
}

static uint64_t count_of(int fd)
{
	uint64_t count = 0;

	return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

static void ring(int fd)
{
	const uint64_t one = 1;

	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
}

/* ---- Accesses ---- */

static void accesses_reach_the_buses_with_their_sizes_and_values(void **state)
{
	struct world *world = begin(state, guest_access);
	uint64_t exits[VMM_EXIT_KINDS];

	assert_seen(world, 0, 'p', 0, 1, 0x41);
	assert_seen(world, 1, 'p', 0, 2, 0x4243);
	assert_seen(world, 2, 'p', 0, 4, 0x44454647);
	assert_seen(world, 3, 'p', 0, 4, 0xfeedbeef);
	assert_seen(world, 4, 'm', 0, 1, 0x11);
	assert_seen(world, 5, 'm', 2, 2, 0x2233);
	assert_seen(world, 6, 'm', 4, 4, 0x44556677);
	assert_seen(world, 7, 'p', 0, 4, 0x0badcafe);
	assert_seen(world, 8, 'p', 0, 4, 0xffffffff);
	vmm_vcpu_stop(world->vcpu);
	vmm_vcpu_exits(world->vcpu, exits);
	assert_int_equal(exits[VMM_EXIT_PORT], 7);
	assert_int_equal(exits[VMM_EXIT_MMIO], 5);
	assert_int_equal(exits[VMM_EXIT_OTHER], 0);
}

static void a_string_instruction_is_all_of_its_accesses(void **state)
{
	struct world *world = begin(state, guest_string);

	assert_seen(world, 0, 'p', 0, 1, 'a');
	assert_seen(world, 1, 'p', 0, 1, 'b');
	assert_seen(world, 2, 'p', 0, 1, 'c');
	assert_seen(world, 3, 'p', 0, 1, '!');
}

/* ---- Doorbells ---- */

static void a_doorbell_reaches_its_eventfd_without_us(void **state)
{
	struct world *world = world_of(state);
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	uint64_t exits[VMM_EXIT_KINDS];
	assert_true(vmm_kvm_doorbells.add(world->kvm, DOORBELL, fd));
	/* Somebody has that one. */
	assert_false(vmm_kvm_doorbells.add(world->kvm, DOORBELL, fd));
	begin(state, guest_doorbell);
	assert_seen(world, 0, 'p', 0, 1, 0);
	assert_int_equal(count_of(fd), 1000);
	vmm_vcpu_exits(world->vcpu, exits);
	assert_int_equal(exits[VMM_EXIT_MMIO], 0);
	vmm_vcpu_stop(world->vcpu);
	close(fd);
}

static void a_doorbell_that_was_removed_comes_to_us(void **state)
{
	struct world *world = world_of(state);
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(vmm_kvm_doorbells.add(world->kvm, DOORBELL, fd));
	vmm_kvm_doorbells.remove(world->kvm, DOORBELL, fd);
	begin(state, guest_doorbell);
	assert_seen(world, 0, 'm', 0x1000, 2, 1000);
	assert_seen(world, 1, 'm', 0x1000, 2, 999);
	assert_int_equal(count_of(fd), 0);
	vmm_vcpu_stop(world->vcpu);
	close(fd);
}

/* ---- Interrupts ---- */

/* Asserts that interrupts 1 to nr were taken, one by one, and that no other comes soon. */
static void assert_interrupts(struct world *world, unsigned int nr)
{
	for (unsigned int i = 0; i <= nr; i++)
		assert_seen(world, i, 'p', 0, 4, i);
	usleep(20000);
	pthread_mutex_lock(&world->lock);
	assert_int_equal(world->nr_seen, nr + 1);
	pthread_mutex_unlock(&world->lock);
}

static void a_message_interrupts(void **state)
{
	struct world *world = begin(state, guest_irq);
	const struct vmm_irq *irq = vmm_kvm_irq(world->kvm);

	assert_interrupts(world, 0);
	assert_int_equal(irq->ops->send(irq->arg, &message), 0);
	assert_interrupts(world, 1);
}

static void an_attached_eventfd_interrupts(void **state)
{
	struct world *world = begin(state, guest_irq);
	const struct vmm_irq *irq = vmm_kvm_irq(world->kvm);
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int route = irq->ops->new_route(irq->arg);

	assert_true(route >= VMM_IRQ_PINS);
	assert_int_equal(irq->ops->set_route(irq->arg, route, &message), 0);
	assert_int_equal(irq->ops->attach(irq->arg, route, fd), 0);
	assert_interrupts(world, 0);
	ring(fd);
	assert_interrupts(world, 1);
	ring(fd);
	assert_interrupts(world, 2);
	irq->ops->free_route(irq->arg, route);
	close(fd);
}

static void a_detached_eventfd_keeps_its_count_and_interrupts_when_attached_again(void **state)
{
	struct world *world = begin(state, guest_irq);
	const struct vmm_irq *irq = vmm_kvm_irq(world->kvm);
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int route = irq->ops->new_route(irq->arg);

	assert_int_equal(irq->ops->set_route(irq->arg, route, &message), 0);
	assert_int_equal(irq->ops->attach(irq->arg, route, fd), 0);
	assert_int_equal(irq->ops->attach(irq->arg, route, fd), -EBUSY);
	assert_int_equal(irq->ops->detach(irq->arg, route, fd), 0);
	assert_int_equal(irq->ops->detach(irq->arg, route, fd), -ENOENT);
	ring(fd);
	ring(fd);
	assert_interrupts(world, 0);
	assert_int_equal(count_of(fd), 2);
	ring(fd);
	assert_int_equal(irq->ops->attach(irq->arg, route, fd), 0);
	assert_interrupts(world, 1);
	close(fd);
}

static void an_eventfd_on_a_route_without_a_message_waits_for_it(void **state)
{
	struct world *world = begin(state, guest_irq);
	const struct vmm_irq *irq = vmm_kvm_irq(world->kvm);
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int route = irq->ops->new_route(irq->arg);

	assert_int_equal(irq->ops->attach(irq->arg, route, fd), 0);
	ring(fd);
	assert_interrupts(world, 0);
	assert_int_equal(irq->ops->set_route(irq->arg, route, &message), 0);
	assert_interrupts(world, 1);
	irq->ops->free_route(irq->arg, route);
	close(fd);
}

static void pins_interrupt_whatever_routes_there_are(void **state)
{
	struct world *world = begin(state, guest_irq);
	const struct vmm_irq *irq = vmm_kvm_irq(world->kvm);
	int route = irq->ops->new_route(irq->arg);

	assert_interrupts(world, 0);
	assert_int_equal(irq->ops->set_line(irq->arg, 20, true), 0);
	assert_int_equal(irq->ops->set_line(irq->arg, 20, false), 0);
	assert_interrupts(world, 1);
	assert_int_equal(irq->ops->set_route(irq->arg, route, &message), 0);
	assert_int_equal(irq->ops->set_line(irq->arg, 20, true), 0);
	assert_interrupts(world, 2);
}

static void routes_are_numbers_of_their_own_until_freed(void **state)
{
	struct world *world = world_of(state);
	const struct vmm_irq *irq;
	int first, second, third;
	irq = vmm_kvm_irq(world->kvm);
	first = irq->ops->new_route(irq->arg);
	second = irq->ops->new_route(irq->arg);
	assert_int_not_equal(first, second);
	assert_int_equal(irq->ops->set_route(irq->arg, second, &message), 0);
	irq->ops->free_route(irq->arg, first);
	assert_int_equal(irq->ops->set_route(irq->arg, first, &message), -EINVAL);
	third = irq->ops->new_route(irq->arg);
	assert_int_equal(third, first);
	assert_int_equal(irq->ops->set_route(irq->arg, third, &message), 0);
	assert_int_equal(irq->ops->set_route(irq->arg, VMM_IRQ_PINS - 1, &message), -EINVAL);
	assert_int_equal(irq->ops->set_line(irq->arg, VMM_IRQ_PINS, true), -EINVAL);
	assert_int_equal(irq->ops->set_line(irq->arg, VMM_IRQ_PINS - 1, true), 0);
}

/* ---- The end ---- */

static void a_guest_that_spins_can_be_stopped(void **state)
{
	struct world *world = begin(state, guest_spin);

	assert_true(wait_for(world, 1));
	vmm_vcpu_stop(world->vcpu);
	assert_false(world->ended);
}

static void a_guest_that_sleeps_can_be_stopped(void **state)
{
	struct world *world = begin(state, guest_string);

	assert_true(wait_for(world, 4));
	vmm_vcpu_ask_stop(world->vcpu);
	vmm_vcpu_stop(world->vcpu);
	assert_false(world->ended);
}

static void a_vcpu_stopped_before_its_first_instruction_ends(void **state)
{
	struct world *world = begin(state, guest_spin);

	vmm_vcpu_stop(world->vcpu);
	assert_false(world->ended);
}

static void a_triple_fault_ends_it_and_says_where(void **state)
{
	struct world *world = begin(state, guest_crash);

	assert_true(wait_for(world, 0));
	assert_int_equal(world->end, VMM_VCPU_SHUTDOWN);
	assert_non_null(strstr(world->text, "triple fault"));
}

static void what_is_no_kvm_is_refused_in_a_line(void **state)
{
	struct vmm_kvm *kvm = NULL;
	char text[VMM_TEXT];

	(void)state;
	assert_int_equal(vmm_kvm_new(&kvm, "/nowhere/kvm", text), -ENOENT);
	assert_non_null(strstr(text, "is not there"));
	assert_int_equal(vmm_kvm_new(&kvm, "/dev/null", text), -ENOSYS);
	assert_string_equal(text, "/dev/null is not KVM");
	assert_null(kvm);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(accesses_reach_the_buses_with_their_sizes_and_values),
		TEST(a_string_instruction_is_all_of_its_accesses),
		TEST(a_doorbell_reaches_its_eventfd_without_us),
		TEST(a_doorbell_that_was_removed_comes_to_us),
		TEST(a_message_interrupts),
		TEST(an_attached_eventfd_interrupts),
		TEST(a_detached_eventfd_keeps_its_count_and_interrupts_when_attached_again),
		TEST(an_eventfd_on_a_route_without_a_message_waits_for_it),
		TEST(pins_interrupt_whatever_routes_there_are),
		TEST(routes_are_numbers_of_their_own_until_freed),
		TEST(a_guest_that_spins_can_be_stopped),
		TEST(a_guest_that_sleeps_can_be_stopped),
		TEST(a_vcpu_stopped_before_its_first_instruction_ends),
		TEST(a_triple_fault_ends_it_and_says_where),
		cmocka_unit_test(what_is_no_kvm_is_refused_in_a_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
