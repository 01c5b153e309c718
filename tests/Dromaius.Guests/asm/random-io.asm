; Random values to random ports and to the addresses where devices are. The command line's first digit is the seed.
%include "multiboot.inc"
main:
    mov esi, message
    call print
    mov ebx, [boot_info]
    mov eax, [ebx + 16]                 ; cmdline
    movzx edx, byte [eax]
.last:
    cmp byte [eax], 0
    je .seeded
    movzx edx, byte [eax]
    inc eax
    jmp .last
.seeded:
    imul edx, edx, 0x9E3779B1
    mov [state], edx
    mov edi, 400000
loop_top:
    call random
    mov ecx, eax
    call random
    mov edx, eax
    and edx, 0xFFFF
    cmp edx, 0xF4                       ; not the exit device, nor what it overlaps
    jb .allowed
    cmp edx, 0xF8
    jb loop_next
.allowed:
    cmp edx, 0xF1
    jb .allowed2
    cmp edx, 0xF4
    jb loop_next
.allowed2:
    ; most accesses go to the low kilobyte, where the devices are
    test ecx, 0x300
    jz .wide
    and edx, 0x3FF
    cmp edx, 0xF0
    jb .wide
    cmp edx, 0xF8
    jb loop_next
.wide:
    mov eax, ecx
    shr ecx, 28
    cmp ecx, 4
    jb .out8
    cmp ecx, 7
    jb .out16
    cmp ecx, 10
    jb .out32
    cmp ecx, 12
    jb .in8
    cmp ecx, 14
    jb .in32
    ; registers in memory: I/O APIC, HPET, local APIC, VGA, option ROM holes
    movzx ecx, dl
    and ecx, 3
    mov ecx, [bases + ecx * 4]
    shr edx, 6
    and edx, 0x3FC
    test eax, 1
    jz .load
    mov [ecx + edx], eax
    jmp loop_next
.load:
    mov eax, [ecx + edx]
    jmp loop_next
.out8:
    out dx, al
    jmp loop_next
.out16:
    out dx, ax
    jmp loop_next
.out32:
    out dx, eax
    jmp loop_next
.in8:
    in al, dx
    jmp loop_next
.in32:
    in eax, dx
loop_next:
    dec edi
    jnz loop_top
    mov al, 0x10
    jmp exit

random:
    mov eax, [state]
    mov ebp, eax
    shl ebp, 13
    xor eax, ebp
    mov ebp, eax
    shr ebp, 17
    xor eax, ebp
    mov ebp, eax
    shl ebp, 5
    xor eax, ebp
    mov [state], eax
    ret

section .data
message: db "random accesses", 10, 0
state: dd 1
bases: dd 0xFEC00000, 0xFED00000, 0xFEE00000, 0x000A0000
