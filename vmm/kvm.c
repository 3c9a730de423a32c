// SPDX-License-Identifier: MIT
/* Makes a machine of /dev/kvm, its memory and its doorbells; interrupts are kvm_irq.c. */

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <vmm/kvm.h>
#include <vmm/kvm_irq.h>
#include <vmm/platform.h>

enum {
	API_VERSION = 12,	 /* the only one there ever was */
	MAX_CPUID_ENTRIES = 512, /* far more than any kernel has */
};

struct vmm_kvm {
	int fd, vm_fd;
	size_t run_size;
	bool has_tsc_deadline;
	struct vmm_kvm_irq irq;
};

/* What has to be there, and for whom. */
static const struct needed {
	int cap;
	const char *name;
} needed[] = {
	{ KVM_CAP_IRQCHIP, "an interrupt controller in the kernel" },
	{ KVM_CAP_PIT2, "a timer in the kernel" },
	{ KVM_CAP_USER_MEMORY, "memory of the program's own" },
	{ KVM_CAP_SET_TSS_ADDR, "a place for its task state" },
	{ KVM_CAP_EXT_CPUID, "CPUID" },
	{ KVM_CAP_IOEVENTFD, "ioeventfd" },
	{ KVM_CAP_IRQFD, "irqfd" },
	{ KVM_CAP_IRQ_ROUTING, "interrupt routes" },
	{ KVM_CAP_SIGNAL_MSI, "message signalled interrupts" },
};

static int failed(char *text, const char *what)
{
	int err = -errno;

	snprintf(text, VMM_TEXT, "%s: %s", what, strerror(-err));
	return err;
}

static int open_kvm(struct vmm_kvm *kvm, const char *path, char *text)
{
	int version;

	kvm->fd = open(path, O_RDWR | O_CLOEXEC);
	if (kvm->fd < 0) {
		int err = -errno;

		if (err == -ENOENT)
			snprintf(
				text, VMM_TEXT,
				"%s is not there: this processor or kernel has no virtual machines",
				path);
		else if (err == -EACCES || err == -EPERM)
			snprintf(text, VMM_TEXT, "%s: no permission (its group, often kvm, has it)",
				 path);
		else
			snprintf(text, VMM_TEXT, "%s: %s", path, strerror(-err));
		return err;
	}
	version = ioctl(kvm->fd, KVM_GET_API_VERSION, 0);
	if (version < 0) {
		snprintf(text, VMM_TEXT, "%s is not KVM", path);
		return -ENOSYS;
	}
	if (version != API_VERSION) {
		snprintf(text, VMM_TEXT, "%s has version %d of the interface, %d is needed", path,
			 version, API_VERSION);
		return -ENOSYS;
	}
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		if (ioctl(kvm->fd, KVM_CHECK_EXTENSION, needed[i].cap) > 0)
			continue;
		snprintf(text, VMM_TEXT, "%s is too old: it lacks %s", path, needed[i].name);
		return -ENOSYS;
	}
	return 0;
}

static int create_vm(struct vmm_kvm *kvm, char *text)
{
	/* The speaker's port is the timer's: Linux reads it to see how fast the TSC is. */
	const struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	const uint64_t identity = VMM_KVM_IDENTITY_MAP;
	int size;

	do {
		kvm->vm_fd = ioctl(kvm->fd, KVM_CREATE_VM, 0UL);
	} while (kvm->vm_fd < 0 && errno == EINTR);
	if (kvm->vm_fd < 0)
		return failed(text, "KVM_CREATE_VM");
	/* Both before the first vCPU; one of them only Intel needs, and may be unknown. */
	ioctl(kvm->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	if (ioctl(kvm->vm_fd, KVM_SET_TSS_ADDR, (unsigned long)VMM_KVM_TSS) < 0)
		return failed(text, "KVM_SET_TSS_ADDR");
	if (ioctl(kvm->vm_fd, KVM_CREATE_IRQCHIP, 0UL) < 0)
		return failed(text, "KVM_CREATE_IRQCHIP");
	if (ioctl(kvm->vm_fd, KVM_CREATE_PIT2, &pit) < 0)
		return failed(text, "KVM_CREATE_PIT2");
	size = ioctl(kvm->fd, KVM_GET_VCPU_MMAP_SIZE, 0UL);
	if (size < 0)
		return failed(text, "KVM_GET_VCPU_MMAP_SIZE");
	if ((size_t)size < sizeof(struct kvm_run)) {
		snprintf(text, VMM_TEXT, "KVM_GET_VCPU_MMAP_SIZE: %d bytes are too few", size);
		return -ENOSYS;
	}
	kvm->run_size = (size_t)size;
	kvm->has_tsc_deadline = ioctl(kvm->fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0;
	return 0;
}

int vmm_kvm_new(struct vmm_kvm **ret_kvm, const char *path, char text[VMM_TEXT])
{
	struct vmm_kvm *kvm = calloc(1, sizeof(*kvm));
	int err;

	if (!kvm) {
		snprintf(text, VMM_TEXT, "no memory");
		return -ENOMEM;
	}
	kvm->fd = kvm->vm_fd = -1;
	err = open_kvm(kvm, path, text);
	if (!err)
		err = create_vm(kvm, text);
	if (!err) {
		int max = ioctl(kvm->fd, KVM_CHECK_EXTENSION, KVM_CAP_IRQ_ROUTING);

		err = vmm_kvm_irq_init(&kvm->irq, kvm->vm_fd, (unsigned int)max);
		if (err < 0)
			snprintf(text, VMM_TEXT, "interrupt routes: %s", strerror(-err));
	}
	if (err < 0) {
		vmm_kvm_free(kvm);
		return err;
	}
	*ret_kvm = kvm;
	return 0;
}

void vmm_kvm_free(struct vmm_kvm *kvm)
{
	if (!kvm)
		return;
	vmm_kvm_irq_fini(&kvm->irq);
	if (kvm->vm_fd >= 0)
		close(kvm->vm_fd);
	if (kvm->fd >= 0)
		close(kvm->fd);
	free(kvm);
}

int vmm_kvm_set_memory(struct vmm_kvm *kvm, const struct vhu_memory *memory, char text[VMM_TEXT])
{
	for (unsigned int i = 0; i < vhu_memory_count(memory); i++) {
		struct kvm_userspace_memory_region slot = { .slot = i };
		struct vhu_memory_region region;

		if (vhu_memory_region(memory, i, &region) < 0)
			continue;
		slot.guest_phys_addr = region.gpa;
		slot.memory_size = region.size;
		slot.userspace_addr = (uintptr_t)region.host;
		if (ioctl(kvm->vm_fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0)
			return failed(text, "KVM_SET_USER_MEMORY_REGION");
	}
	return 0;
}

int vmm_kvm_new_vcpu(struct vmm_kvm *kvm, unsigned int cpu)
{
	int fd = ioctl(kvm->vm_fd, KVM_CREATE_VCPU, (unsigned long)cpu);

	return fd < 0 ? -errno : fd;
}

size_t vmm_kvm_run_size(const struct vmm_kvm *kvm)
{
	return kvm->run_size;
}

bool vmm_kvm_has_tsc_deadline(const struct vmm_kvm *kvm)
{
	return kvm->has_tsc_deadline;
}

struct kvm_cpuid2 *vmm_kvm_cpuid(const struct vmm_kvm *kvm, char text[VMM_TEXT])
{
	size_t size =
		sizeof(struct kvm_cpuid2) + MAX_CPUID_ENTRIES * sizeof(struct kvm_cpuid_entry2);
	struct kvm_cpuid2 *cpuid = calloc(1, size);

	if (!cpuid) {
		snprintf(text, VMM_TEXT, "no memory");
		return NULL;
	}
	cpuid->nent = MAX_CPUID_ENTRIES;
	if (ioctl(kvm->fd, KVM_GET_SUPPORTED_CPUID, cpuid) < 0) {
		failed(text, "KVM_GET_SUPPORTED_CPUID");
		free(cpuid);
		return NULL;
	}
	return cpuid;
}

const struct vmm_irq *vmm_kvm_irq(const struct vmm_kvm *kvm)
{
	return &kvm->irq.irq;
}

/* ---- Doorbells ---- */

static int doorbell(struct vmm_kvm *kvm, uint64_t addr, int eventfd, unsigned int flags)
{
	const struct kvm_ioeventfd request = {
		.addr = addr,
		.len = 2, /* the queue's number, whatever it is: virtio 1.2, 4.1.5.2 */
		.fd = eventfd,
		.flags = flags,
	};

	return ioctl(kvm->vm_fd, KVM_IOEVENTFD, &request) < 0 ? -errno : 0;
}

static bool add_doorbell(void *arg, uint64_t addr, int eventfd)
{
	return doorbell(arg, addr, eventfd, 0) == 0;
}

static void remove_doorbell(void *arg, uint64_t addr, int eventfd)
{
	doorbell(arg, addr, eventfd, KVM_IOEVENTFD_FLAG_DEASSIGN);
}

const struct vmm_doorbell_ops vmm_kvm_doorbells = {
	.add = add_doorbell,
	.remove = remove_doorbell,
};
