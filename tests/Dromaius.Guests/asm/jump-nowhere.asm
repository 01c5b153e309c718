; Executes where there is neither memory nor a device.
%include "multiboot.inc"
main:
    mov esi, message
    call print
    mov eax, 0xD0000000
    jmp eax

section .data
message: db "about to jump", 10, 0
