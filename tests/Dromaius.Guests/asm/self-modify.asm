; Code that changes the next instruction, an instruction of its own loop, and code on another page.
%include "multiboot.inc"
main:
    mov byte [patch1 + 1], 5            ; the very next instruction
patch1:
    mov eax, 1
    cmp eax, 5
    jne bad

    xor ebx, ebx
    mov ecx, 100
again:
patch2:
    add ebx, 0                          ; its immediate grows in every turn
    inc byte [patch2 + 2]
    loop again
    cmp ebx, 4950                       ; 0 + 1 + ... + 99
    jne bad

    mov ecx, 1000
far_again:
    mov [far_code + 1], ecx             ; mov eax, imm32 on another page
    call far_code
    cmp eax, ecx
    jne bad
    loop far_again
    mov al, 0x2A
    jmp exit
bad:
    mov al, 1
    jmp exit

section .far exec write alloc align=4096
far_code:
    mov eax, 0
    ret
