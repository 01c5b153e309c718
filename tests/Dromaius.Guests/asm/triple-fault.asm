; No IDT: the first exception becomes a double and then a triple fault.
%include "multiboot.inc"
main:
    mov esi, message
    call print
    lidt [empty]
    ud2
    mov al, 1
    jmp exit

section .data
message: db "about to fault", 10, 0
empty: dw 0
    dd 0
