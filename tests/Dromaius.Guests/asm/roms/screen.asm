; Sets a BIOS or VESA mode, fills its memory with noise, writes K to port E9h and stops. An option ROM: the firmware runs it when
; the video BIOS is up.
; MODE: number; KIND: 0 text, 1 CGA, 2 planar, 3 bytes at A000, 4 banked VESA, 5 mode X, 6 planar VESA; BANKS: of 64 KiB
bits 16
org 0
        db 0x55, 0xAA, 4
        jmp start
        times 0x18-($-$$) db 0
        dw 0, 0
start:
        pushf
        cli
        cld
        push cs
        pop ds
%if MODE < 0x100
        mov ax, MODE
        int 0x10
%else
        mov ax, 0x4F02
        mov bx, MODE
        int 0x10
%endif
        mov bp, 12345
%if KIND == 0
        mov ah, 1
        mov cx, 0x2000
        int 0x10
        mov ax, TEXTSEG
        mov es, ax
        xor di, di
        mov cx, 0x4000
.text:  call noise
        mov al, bh
        mov ah, bl
        stosw
        loop .text
%elif KIND == 1
        mov ax, 0xB800
        mov es, ax
        call fill
%elif KIND == 2 || KIND == 6
        mov ax, 0xA000
        mov es, ax
        mov dx, 0x3C4
        mov ax, 0x0102
.plane: out dx, ax
        push ax
        call fill
        pop ax
        shl ah, 1
        cmp ah, 16
        jne .plane
        mov ax, 0x0F02
        out dx, ax
        mov dx, 0x3CE
        ; write mode 1: copy
        mov ax, 0x0105
        out dx, ax
        push ds
        push es
        pop ds
        mov si, 400
        mov di, 5000
        mov cx, 900
        rep movsb
        pop ds
        ; write mode 2 with a mask
        mov ax, 0x0205
        out dx, ax
        mov ax, 0x3C08
        out dx, ax
        mov di, 9000
        mov cx, 600
.m2:    mov al, [es:di]
        mov ax, cx
        stosb
        loop .m2
        ; write mode 3
        mov ax, 0x0305
        out dx, ax
        mov ax, 0x0A00
        out dx, ax
        mov ax, 0xFF08
        out dx, ax
        mov di, 11000
        mov cx, 600
.m3:    mov al, [es:di]
        mov ax, cx
        stosb
        loop .m3
        ; write mode 0: rotate by 3, xor, set/reset on two planes
        mov ax, 0x0005
        out dx, ax
        mov ax, 0x1B03
        out dx, ax
        mov ax, 0x0601
        out dx, ax
        mov ax, 0x0400
        out dx, ax
        mov ax, 0x5A08
        out dx, ax
        mov di, 13000
        mov cx, 600
.m0:    mov al, [es:di]
        mov ax, cx
        stosb
        loop .m0
        ; read mode 1 result drawn back
        mov ax, 0x0005
        out dx, ax
        mov ax, 0x0003
        out dx, ax
        mov ax, 0x0001
        out dx, ax
        mov ax, 0xFF08
        out dx, ax
        mov ax, 0x0502
        out dx, ax
        mov ax, 0x0B07
        out dx, ax
        mov si, 15000
        mov di, 20000
        mov cx, 600
.r1:    mov ax, 0x0805
        out dx, ax
        mov al, [es:si]
        inc si
        push ax
        mov ax, 0x0005
        out dx, ax
        pop ax
        stosb
        loop .r1
%elif KIND == 3
        mov ax, 0xA000
        mov es, ax
        call fill
%elif KIND == 4
        mov ax, 0xA000
        mov es, ax
        xor dx, dx
.bank:  push dx
        mov ax, 0x4F05
        xor bx, bx
        int 0x10
        call fill
        pop dx
        inc dx
        cmp dx, BANKS
        jne .bank
%elif KIND == 5
        mov dx, 0x3C4           ; unchained, 320x240
        mov ax, 0x0604
        out dx, ax
        mov ax, 0x0100
        out dx, ax
        mov dx, 0x3C2
        mov al, 0xE3
        out dx, al
        mov dx, 0x3C4
        mov ax, 0x0300
        out dx, ax
        mov dx, 0x3D4
        mov al, 0x11
        out dx, al
        inc dx
        in al, dx
        and al, 0x7F
        out dx, al
        dec dx
        mov si, xregs
        mov cx, 10
.x:     lodsw
        out dx, ax
        loop .x
        mov ax, 0xA000
        mov es, ax
        mov dx, 0x3C4
        mov ax, 0x0102
.xp:    out dx, ax
        push ax
        call fill
        pop ax
        shl ah, 1
        cmp ah, 16
        jne .xp
        mov dx, 0x3D4           ; start address and line compare
        mov ax, 0x100C
        out dx, ax
        mov ax, 0x400D
        out dx, ax
        mov ax, 0x2C18
        out dx, ax
        mov ax, 0x1E07
        out dx, ax
        mov ax, 0x0109
        out dx, ax
%endif
        mov al, 'K'
        out 0xE9, al
.stop:  hlt
        jmp .stop
%if KIND == 5
xregs:  dw 0x0D06, 0x3E07, 0x4109, 0xEA10, 0xAC11, 0xDF12, 0x0014, 0xE715, 0x0616, 0xE317
%endif
noise:  ; next number in bx
        mov ax, 25173
        push dx
        mul bp
        pop dx
        add ax, 13849
        mov bp, ax
        mov bx, ax
        ret
fill:   xor di, di
        mov cx, 0x8000
.f:     call noise
        mov al, bh
        mov ah, bl
        stosw
        loop .f
        ret
        times 2048-($-$$) db 0
