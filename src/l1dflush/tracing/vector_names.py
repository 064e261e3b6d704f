# SPDX-License-Identifier: GPL-2.0-or-later
"""Which instructions work on vectors: SSE, AVX, AVX2, FMA, AES and what of AVX-512 has no mask, by what they do with
their first operand (SDM volume 2, the instructions' pages)."""

from __future__ import annotations

_ARITHMETIC = ("add", "sub", "mul", "div", "min", "max")
_COMPARISONS = ("eq", "lt", "le", "unord", "neq", "nlt", "nle", "ord")
_KINDS = ("ss", "sd", "ps", "pd")

COPIES = (
    "movaps movups movapd movupd movdqa movdqu lddqu movntdqa movss movq movd movddup movshdup movsldup "
    "pmovzxbw pmovzxbd pmovzxbq pmovzxwd pmovzxwq pmovzxdq pmovsxbw pmovsxbd pmovsxbq pmovsxwd pmovsxwq pmovsxdq "
    "pabsb pabsw pabsd sqrtps sqrtpd rcpps rsqrtps cvtdq2ps cvtdq2pd cvtps2dq cvttps2dq cvtpd2dq cvttpd2dq "
    "cvtps2pd cvtpd2ps cvttsd2si cvtsd2si cvttss2si cvtss2si "
    "aesimc phminposuw"
)
"""They write it without reading it."""
COPIES_OF_PARTS = (
    "pshufd pshuflw pshufhw pmovmskb movmskps movmskpd pextrw pextrb pextrd pextrq extractps aeskeygenassist"
)
"""The same, with a number of the instruction's own besides."""
_LOGIC = (
    "pxor por pand pandn xorps xorpd orps orpd andps andpd andnps andnpd paddb paddw paddd paddq psubb psubw "
    "psubd psubq paddsb paddsw paddusb paddusw psubsb psubsw psubusb psubusw pcmpeqb pcmpeqw pcmpeqd pcmpeqq "
    "pcmpgtb pcmpgtw pcmpgtd pcmpgtq punpcklbw punpcklwd punpckldq punpcklqdq punpckhbw punpckhwd punpckhdq "
    "punpckhqdq unpcklps unpckhps unpcklpd unpckhpd packsswb packssdw packuswb packusdw psrldq pslldq psrlw psrlq "
    "psllw psllq psrld pslld psraw psrad pminub pmaxub pminsw pmaxsw pminsb pmaxsb pminuw pmaxuw pminud pmaxud "
    "pminsd pmaxsd pavgb pavgw psadbw pmullw pmulhw pmulhuw pmuludq pmuldq pmulld pmaddwd pmaddubsw pmulhrsw "
    "pshufb phaddw phaddd phsubw phsubd psignb psignw psignd "
    "phaddsw phsubsw aesenc aesenclast aesdec aesdeclast"
)
_AND_A_NUMBER = (
    "roundss roundsd roundps roundpd dpps dppd shufps shufpd blendps blendpd pblendw palignr pinsrb pinsrw pinsrd "
    "pinsrq insertps mpsadbw pclmulqdq"
)
_OTHERS = (
    "sqrtss sqrtsd rcpss rsqrtss cvtsi2ss cvtsi2sd cvtss2sd cvtsd2ss addsubps addsubpd haddps haddpd hsubps hsubpd"
)
UPDATES = " ".join([
    *(f"{name}{kind}" for name in _ARITHMETIC for kind in _KINDS),
    *(f"cmp{how}{kind}" for how in _COMPARISONS for kind in _KINDS),
    _OTHERS, _AND_A_NUMBER, _LOGIC,
])  # fmt: skip
"""They read it and write it."""
VEX_COPIES = (
    "vmovaps vmovups vmovapd vmovupd vmovdqa vmovdqu vmovdqa32 vmovdqa64 vmovdqu8 vmovdqu16 vmovdqu32 "
    "vmovdqu64 vlddqu vmovntdqa vbroadcastss vbroadcastsd vbroadcastf128 vbroadcasti128 vbroadcastf32x4 "
    "vbroadcasti32x4 vbroadcastf64x4 vbroadcasti64x4 vpbroadcastb vpbroadcastw vpbroadcastd vpbroadcastq "
    "vmovd vmovq vmovss vmovsd vmovddup vmovshdup vmovsldup vpshufd vpshuflw vpshufhw vpermq vpermpd vpermd "
    "vpermps vpermilps vpermilpd vperm2f128 vperm2i128 vextractf128 vextracti128 vinsertf128 vinserti128 vpextrb "
    "vpextrw vpextrd vpextrq vpinsrb vpinsrw vpinsrd vpinsrq vpmovmskb vmovmskps vmovmskpd vmovhps vmovlps vmovhpd "
    "vmovlpd vmovhlps vmovlhps vsqrtps vsqrtpd vrcpps vrsqrtps vcvtdq2ps vcvtdq2pd vcvtps2dq vcvttps2dq vcvtpd2dq "
    "vcvttpd2dq vcvtps2pd vcvtpd2ps vcvttsd2si vcvtsd2si vcvttss2si vcvtss2si vroundps vroundpd vpabsb vpabsw "
    "vpabsd vpmovzxbw vpmovzxbd vpmovzxbq vpmovzxwd vpmovzxwq vpmovzxdq vpmovsxbw vpmovsxbd vpmovsxbq vpmovsxwd "
    "vpmovsxwq vpmovsxdq "
    "vaesimc vaeskeygenassist vphminposuw vcvtph2ps vcvtps2ph vextractps"
)
"""Of those with VEX and EVEX: they have one source."""
VEX_OF_SEVERAL = " ".join([
    *(f"v{name}" for name in _LOGIC.split()),
    *(f"v{name}{kind}" for name in _ARITHMETIC for kind in _KINDS),
    *(f"vcmp{how}{kind}" for how in _COMPARISONS for kind in _KINDS),
    *(f"vf{sign}{order}{kind}" for sign in ("madd", "msub", "nmadd", "nmsub") for order in ("132", "213", "231")
      for kind in _KINDS),
    *(f"vf{sign}{order}{kind}" for sign in ("maddsub", "msubadd") for order in ("132", "213", "231")
      for kind in ("ps", "pd")),
    "vpxord vpxorq vpord vporq vpandd vpandq vpternlogd vpternlogq vpblendd vpblendw vblendps vblendpd vpblendvb "
    "vblendvps vblendvpd vshufps vshufpd vpalignr vsqrtss vsqrtsd vcvtsi2ss vcvtsi2sd vcvtss2sd vcvtsd2ss vroundss "
    "vroundsd vhaddps vhaddpd vhsubps vhsubpd vaddsubps vaddsubpd vpsllvd vpsllvq vpsrlvd vpsrlvq vpsravd vdpps vdppd "
    "vmpsadbw vinsertps vpclmulqdq",
])  # fmt: skip
"""The others, which have several."""
