# A guest in one sector.  At each boot it raises a counter in sector 1 of each of its disks (at most four), and tells it on its serial
# line and its screen, with the text behind the counter, its memory and its processors:
#
#     TINY boot=3 any text vdb=1 mem=64 cpus=1
#
# Then it shows what is typed on the serial line; Ctrl-R starts it anew, and Ctrl-D or its power button ends it.  On a q35 it lets go of a
# disk when it is asked to.
#
#     as --32 tiny_guest.S -o t.o && ld -m elf_i386 -Ttext 0x7c00 --oformat binary t.o -o t.bin
#
# cloud_guest.py has these bytes, and puts the partition table behind them that makes a disk of it.

.set SECTOR, 0x7e00             # sector 1: the counter, 16 bits, and a text that ends with a zero
.set FIRST_DISK, 0x80
.set COM1, 0x3f8
.set COM1_STATE, 0x3fd          # bit 5: may be written; bit 0: something was typed
.set PM1_STATUS, 0x600          # where SeaBIOS puts the registers of power management; bit 8: the button
.set PM1_ENABLE, 0x602
.set PM1_CONTROL, 0x604
.set POWER_OFF, 0x2000
.set FIRMWARE_SELECT, 0x510     # QEMU's fw_cfg; item 5 is the number of processors
.set RESET, 0xcf9
.set PCI_ADDRESS, 0xcf8
.set PCI_DATA, 0xfc             # the low byte of 0xcfc
.set FIRST_PORT, 0x80002000     # device 4 of bus 0: the agent puts root ports at 4.0 to 7.7
.set BEHIND_PORTS, 0x4000
.set ROOT_PORT, 0x000c1b36      # QEMU's
.set SLOT, 0x6c                 # control of a root port's slot, then its status
.set PRESSED, 16                # bit: the attention button
.set LET_GO, 0x700              # light and power off

.code16
.globl _start
_start:
        cli
        xor %ax, %ax
        mov %ax, %ds
        mov %ax, %es
        mov %ax, %ss
        mov $0x7c00, %sp
        sti
        cld
        mov $hello, %si
disks:
        mov $0x42, %ah          # extended read
        call disk
        jc known
        incw SECTOR
        mov $0x4300, %ax        # extended write
        call disk
        jc known
        mov SECTOR, %ax
        call show
        mov $SECTOR + 2, %si
        call puts
        incb drive
        incb letter
        mov $another, %si
        cmpb $FIRST_DISK + 4, drive
        jne disks
known:
        cmpb $FIRST_DISK, drive
        jne counted
        mov $broken, %si
        call puts
counted:
        mov $0xe801, %ax        # memory: KiB up to 16 MiB, then units of 64 KiB
        int $0x15
        shr $10, %cx
        add $15, %dx            # the firmware keeps a little for itself
        shr $4, %dx
        lea 1(%ecx, %edx), %ax
        mov $memory, %si
        call show
        mov $FIRMWARE_SELECT, %dx
        mov $5, %ax
        out %ax, %dx
        inc %dx
        in %dx, %al
        cbw
        mov $processors, %si
        call show
        mov $newline, %si
        call puts
        mov $PM1_ENABLE, %dx
        mov $0x100, %ax
        out %ax, %dx
wait:
        hlt                     # until the clock ticks, 18 times a second
        mov $FIRST_PORT, %ebp
port:
        mov %ebp, %eax
        call config
        cmp $ROOT_PORT, %eax
        jne next
        lea SLOT(%ebp), %eax
        call config
        bt $PRESSED, %eax
        jnc next
        or $LET_GO, %ax
        out %eax, %dx
next:
        add $0x100, %bp
        cmp $BEHIND_PORTS, %bp
        jne port
listen:
        mov $PM1_STATUS, %dx
        in %dx, %ax
        test $1, %ah
        jnz off
        mov $COM1_STATE, %dx
        in %dx, %al
        test $1, %al
        jz wait
        mov $COM1, %dx
        in %dx, %al
        cmp $4, %al             # Ctrl-D
        je off
        cmp $0x12, %al          # Ctrl-R
        je again
        call putc
        jmp listen
again:
        mov $RESET, %dx
        mov $6, %al
        out %al, %dx
off:
        mov $bye, %si
        call puts
        mov $PM1_CONTROL, %dx
        mov $POWER_OFF, %ax
        out %ax, %dx
        jmp wait

config:                         # what stands at address eax of the PCI configuration; dx is where it can be written
        mov $PCI_ADDRESS, %dx
        out %eax, %dx
        mov $PCI_DATA, %dl
        in %dx, %eax
        ret
disk:                           # read or write sector 1 of `drive`; carry where that fails
        push %si
        mov $packet, %si
        mov drive, %dl
        int $0x13
        pop %si
        ret
show:                           # the text at si, then ax in decimal
        push %ax
        call puts
        pop %ax
        mov $10, %cx
        xor %bx, %bx
1:      xor %dx, %dx
        div %cx
        push %dx
        inc %bx
        test %ax, %ax
        jnz 1b
2:      pop %ax
        add $'0', %al
        call putc
        dec %bx
        jnz 2b
        ret
puts:                           # the text at si
        lodsb
        test %al, %al
        jz 3f
        call putc
        jmp puts
putc:                           # al, on the screen and the serial line
        push %bx
        mov $7, %bx
        mov $0x0e, %ah
        int $0x10
        pop %bx
        push %ax
        mov $COM1_STATE, %dx
4:      in %dx, %al
        test $0x20, %al
        jz 4b
        pop %ax
        mov $COM1, %dx
        out %al, %dx
3:      ret

packet: .byte 16, 0
        .word 1, SECTOR, 0
        .quad 1
drive:  .byte FIRST_DISK
hello:  .asciz "\r\nTINY boot="
another: .ascii " vd"
letter: .ascii "a"
        .asciz "="
broken: .asciz "? no disk that can be written"
memory: .asciz " mem="
processors: .asciz " cpus="
newline: .asciz "\r\n"
bye:    .asciz "\r\nTINY off\r\n"
