namespace Dromaius.Jit.Ir;

/// <summary>
/// Vector operations, named after the x86 instruction whose result they compute (without the V prefix where an SSE form
/// exists). <see cref="VecOps"/> holds the table: operand form, host encoding, C# semantics.
/// </summary>
public enum VecKind : ushort
{
    None,

    // Floating-point arithmetic. Scalars take their upper lanes from A.
    Addps, Addpd, Addss, Addsd, Subps, Subpd, Subss, Subsd, Mulps, Mulpd, Mulss, Mulsd, Divps, Divpd, Divss, Divsd,
    Minps, Minpd, Minss, Minsd, Maxps, Maxpd, Maxss, Maxsd, Sqrtps, Sqrtpd, Sqrtss, Sqrtsd,
    Rcpps, Rcpss, Rsqrtps, Rsqrtss, Cmpps, Cmppd, Cmpss, Cmpsd,
    Addsubps, Addsubpd, Haddps, Haddpd, Hsubps, Hsubpd, Dpps, Dppd, Roundps, Roundpd, Roundss, Roundsd,

    // Bits of floating-point vectors (any lane type).
    Andps, Andnps, Orps, Xorps,

    // Moves between lanes.
    Movss, Movsd, Movhlps, Movlhps, Movq, Unpcklps, Unpcklpd, Unpckhps, Unpckhpd, Shufps, Shufpd, Movsldup, Movshdup, Movddup,
    Insertps, Blendps, Blendpd, Blendvps, Blendvpd,

    // Conversions.
    Cvtps2pd, Cvtpd2ps, Cvtss2sd, Cvtsd2ss, Cvtdq2ps, Cvtps2dq, Cvttps2dq, Cvtdq2pd, Cvtpd2dq, Cvttpd2dq,
    Cvtph2ps, Cvtps2ph,

    /// <summary>The integer is in the low 32 or 64 bits of B (see <see cref="VecForm.FromGpr"/>).</summary>
    Cvtsi2ss32, Cvtsi2ss64, Cvtsi2sd32, Cvtsi2sd64,

    // Integer lanes.
    Punpcklbw, Punpcklwd, Punpckldq, Punpcklqdq, Punpckhbw, Punpckhwd, Punpckhdq, Punpckhqdq,
    Packsswb, Packssdw, Packuswb, Packusdw,
    Pcmpeqb, Pcmpeqw, Pcmpeqd, Pcmpeqq, Pcmpgtb, Pcmpgtw, Pcmpgtd, Pcmpgtq,
    Pshufd, Pshufhw, Pshuflw, Pshufb, Palignr,
    Paddb, Paddw, Paddd, Paddq, Psubb, Psubw, Psubd, Psubq,
    Paddsb, Paddsw, Paddusb, Paddusw, Psubsb, Psubsw, Psubusb, Psubusw,
    Pmullw, Pmulhw, Pmulhuw, Pmulhrsw, Pmulld, Pmuludq, Pmuldq, Pmaddwd, Pmaddubsw, Psadbw, Mpsadbw,
    Pavgb, Pavgw, Pminub, Pminuw, Pminud, Pminsb, Pminsw, Pminsd, Pmaxub, Pmaxuw, Pmaxud, Pmaxsb, Pmaxsw, Pmaxsd,
    Pand, Pandn, Por, Pxor,
    Phaddw, Phaddd, Phaddsw, Phsubw, Phsubd, Phsubsw, Psignb, Psignw, Psignd, Pabsb, Pabsw, Pabsd, Phminposuw,
    Pblendw, Pblendvb,
    Pmovsxbw, Pmovsxbd, Pmovsxbq, Pmovsxwd, Pmovsxwq, Pmovsxdq, Pmovzxbw, Pmovzxbd, Pmovzxbq, Pmovzxwd, Pmovzxwq, Pmovzxdq,
    Pinsrb, Pinsrw, Pinsrd, Pinsrq,

    /// <summary>Shifts by the low 64 bits of B.</summary>
    Psrlw, Psrld, Psrlq, Psraw, Psrad, Psllw, Pslld, Psllq,

    /// <summary>Shifts by the immediate.</summary>
    PsrlwI, PsrldI, PsrlqI, PsrawI, PsradI, PsllwI, PslldI, PsllqI, Psrldq, Pslldq,

    // Cryptography.
    Aesenc, Aesenclast, Aesdec, Aesdeclast, Aesimc, Aeskeygenassist, Pclmulqdq,
    Sha1nexte, Sha1msg1, Sha1msg2, Sha1rnds4, Sha256msg1, Sha256msg2,

    /// <summary>Operand C is the implicit XMM0.</summary>
    Sha256rnds2,

    // AVX and AVX2 without an SSE form.
    Vbroadcastss, Vbroadcastsd, Vpermilps, Vpermilpd, VpermilpsI, VpermilpdI, Vperm2f128, Vperm2i128,
    Vpbroadcastb, Vpbroadcastw, Vpbroadcastd, Vpbroadcastq, Vpermd, Vpermps, Vpermq, Vpermpd, Vpblendd,
    Vpsllvd, Vpsllvq, Vpsrlvd, Vpsrlvq, Vpsravd,

    // FMA: the three operands are those of the instruction in order (A is also the destination).
    Vfmadd132ps, Vfmadd132pd, Vfmadd132ss, Vfmadd132sd, Vfmadd213ps, Vfmadd213pd, Vfmadd213ss, Vfmadd213sd,
    Vfmadd231ps, Vfmadd231pd, Vfmadd231ss, Vfmadd231sd,
    Vfmsub132ps, Vfmsub132pd, Vfmsub132ss, Vfmsub132sd, Vfmsub213ps, Vfmsub213pd, Vfmsub213ss, Vfmsub213sd,
    Vfmsub231ps, Vfmsub231pd, Vfmsub231ss, Vfmsub231sd,
    Vfnmadd132ps, Vfnmadd132pd, Vfnmadd132ss, Vfnmadd132sd, Vfnmadd213ps, Vfnmadd213pd, Vfnmadd213ss, Vfnmadd213sd,
    Vfnmadd231ps, Vfnmadd231pd, Vfnmadd231ss, Vfnmadd231sd,
    Vfnmsub132ps, Vfnmsub132pd, Vfnmsub132ss, Vfnmsub132sd, Vfnmsub213ps, Vfnmsub213pd, Vfnmsub213ss, Vfnmsub213sd,
    Vfnmsub231ps, Vfnmsub231pd, Vfnmsub231ss, Vfnmsub231sd,
    Vfmaddsub132ps, Vfmaddsub132pd, Vfmaddsub213ps, Vfmaddsub213pd, Vfmaddsub231ps, Vfmaddsub231pd,
    Vfmsubadd132ps, Vfmsubadd132pd, Vfmsubadd213ps, Vfmsubadd213pd, Vfmsubadd231ps, Vfmsubadd231pd,

    // Integer results (IrOp.VecToIntOp).
    Movmskps, Movmskpd, Pmovmskb, Pextrb, Pextrw, Pextrd, Pextrq,
    Cvtss2si32, Cvtss2si64, Cvtsd2si32, Cvtsd2si64, Cvttss2si32, Cvttss2si64, Cvttsd2si32, Cvttsd2si64,

    /// <summary>The result is ZF, PF and CF in their EFLAGS positions (mask 0x45).</summary>
    Comiss, Comisd, Ucomiss, Ucomisd, Ptest, Vtestps, Vtestpd,

    Count,
}
