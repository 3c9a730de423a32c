/* SPDX-License-Identifier: MIT */
/*
 * How the guest of vm_guest.c begins: a bzImage's header (Linux, Documentation/arch/x86/boot.rst), the
 * entry of 64 bits 0x200 behind the code's beginning, and the handler of its interrupt. Linked so that
 * the code is at 16 MiB.
 */
	.text
	.globl _start
_start:
	.org 0x1f1
	.byte 1			/* setup_sects */
	.word 0			/* root_flags */
	.long 0			/* syssize */
	.word 0, 0, 0		/* ram_size, vid_mode, root_dev */
	.word 0xaa55		/* boot_flag */
	.byte 0xeb, 0x66	/* jump: where the header ends */
	.ascii "HdrS"
	.word 0x020c		/* version */
	.long 0			/* realmode_swtch */
	.word 0, 0		/* start_sys_seg, kernel_version */
	.byte 0, 1		/* type_of_loader, loadflags: LOADED_HIGH */
	.word 0
	.long 0x1000000, 0, 0, 0
	.word 0
	.byte 0, 0
	.long 0			/* cmd_line_ptr */
	.long 0x7fffffff	/* initrd_addr_max */
	.long 0x200000		/* kernel_alignment */
	.byte 0, 21		/* relocatable_kernel, min_alignment */
	.word 1			/* xloadflags: XLF_KERNEL_64 */
	.long 2047, 0		/* cmdline_size */
	.quad 0
	.long 0, 0
	.quad 0
	.quad 0x1000000		/* pref_address */
	.long 0x100000, 0	/* init_size */
	.org 0x400
	.org 0x600
	/* rsi: struct boot_params, whose cmd_line_ptr is at 0x228. */
	leaq stack_end(%rip), %rsp
	movl 0x228(%rsi), %edi
	call guest_main
1:	hlt
	jmp 1b

	.globl interrupt_entry
interrupt_entry:
	push %rax
	push %rcx
	incl interrupts(%rip)
	movl $0xfee000b0, %eax
	movl $0, (%rax)		/* end of interrupt */
	pop %rcx
	pop %rax
	iretq

	.bss
	.balign 16
	.skip 8192
stack_end:
	.section .note.GNU-stack, "", @progbits
