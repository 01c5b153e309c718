%include "multiboot.inc"
main:
    mov al, 1
    cmp dword [boot_magic], 0x2BADB002
    jne exit
    mov ebx, [boot_info]
    test dword [ebx], 1                 ; mem_lower and mem_upper are there
    jz exit
    mov esi, message
    call print
    mov al, 0x20
    jmp exit

section .data
message: db "hello from multiboot", 10, 0
