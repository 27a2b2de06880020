/* The table of instruction words and their legality. The rows are the facts of isa.json. */
#include "isa.h"


/* opcode, unit, descriptors, optional, absent, flags, used bits (high, low) */
const struct form FORMS[] = {
    {0x01, UNIT_CTL, 0, 0x0, 0x0, 0x0001, 0x0000000000000000, 0x00000000000000ff}, /* nop */
    {0x02, UNIT_CTL, 0, 0x0, 0x0, 0x0001, 0x0000000000000000, 0x00000000000000ff}, /* halt */
    {0x03, UNIT_CTL, 0, 0x0, 0x0, 0x0001, 0xffffffffffffffff, 0x0007c000000000ff}, /* li */
    {0x04, UNIT_CTL, 0, 0x0, 0x0, 0x0001, 0x00ff000000000000, 0x0007c000000000ff}, /* rdsr */
    {0x05, UNIT_CTL, 0, 0x0, 0x0, 0x0001, 0xffffffffffffffff, 0x1fffc000000000ff}, /* add */
    {0x06, UNIT_CTL, 0, 0x0, 0x0, 0x0001, 0xffffffffffffffff, 0x1fffc000000000ff}, /* sub */
    {0x07, UNIT_CTL, 0, 0x0, 0x0, 0x0001, 0xffffffffffffffff, 0x1fffc000000000ff}, /* mul */
    {0x08, UNIT_CTL, 0, 0x0, 0x0, 0x0001, 0xffffffffffffffff, 0x1fffc000000000ff}, /* divu */
    {0x09, UNIT_CTL, 0, 0x0, 0x0, 0x0001, 0xffffffffffffffff, 0x1fffc000000000ff}, /* remu */
    {0x0a, UNIT_CTL, 0, 0x0, 0x0, 0x0001, 0xffffffffffffffff, 0x1fffc000000000ff}, /* and */
    {0x0b, UNIT_CTL, 0, 0x0, 0x0, 0x0001, 0xffffffffffffffff, 0x1fffc000000000ff}, /* or */
    {0x0c, UNIT_CTL, 0, 0x0, 0x0, 0x0001, 0xffffffffffffffff, 0x1fffc000000000ff}, /* xor */
    {0x0d, UNIT_CTL, 0, 0x0, 0x0, 0x0001, 0xffffffffffffffff, 0x1fffc000000000ff}, /* shl */
    {0x0e, UNIT_CTL, 0, 0x0, 0x0, 0x0001, 0xffffffffffffffff, 0x1fffc000000000ff}, /* shr */
    {0x0f, UNIT_CTL, 0, 0x0, 0x0, 0x0001, 0xffffffffffffffff, 0x1fffc000000000ff}, /* min */
    {0x10, UNIT_CTL, 0, 0x0, 0x0, 0x0001, 0xffffffffffffffff, 0x1fffc000000000ff}, /* max */
    {0x11, UNIT_CTL, 0, 0x0, 0x0, 0x0001, 0xffffffffffffffff, 0x1ff80000000000ff}, /* beq */
    {0x12, UNIT_CTL, 0, 0x0, 0x0, 0x0001, 0xffffffffffffffff, 0x1ff80000000000ff}, /* bne */
    {0x13, UNIT_CTL, 0, 0x0, 0x0, 0x0001, 0xffffffffffffffff, 0x1ff80000000000ff}, /* blt */
    {0x14, UNIT_CTL, 0, 0x0, 0x0, 0x0001, 0xffffffffffffffff, 0x1ff80000000000ff}, /* bge */
    {0x15, UNIT_CTL, 0, 0x0, 0x0, 0x0001, 0xffffffff00000000, 0x00000000000000ff}, /* jmp */
    {0x16, UNIT_CTL, 0, 0x0, 0x0, 0x0001, 0xffffffff00000000, 0x00000000000000ff}, /* call */
    {0x17, UNIT_CTL, 0, 0x0, 0x0, 0x0001, 0x0000000000000000, 0x00000000000000ff}, /* ret */
    {0x18, UNIT_CTL, 0, 0x0, 0x0, 0x0001, 0xffffffffffffffff, 0x1f000000000000ff}, /* loop */
    {0x19, UNIT_CTL, 0, 0x0, 0x0, 0x0001, 0x00000000ffffffff, 0x1f000000000000ff}, /* mark */
    {0x1a, UNIT_CTL, 1, 0x0, 0x0, 0x0001, 0x00fff000ffffffff, 0x1f07c000003f00ff}, /* ld */
    {0x1b, UNIT_CTL, 1, 0x0, 0x0, 0x0001, 0x00000000ffffffff, 0x1f000000003f00ff}, /* dld */
    {0x1c, UNIT_CTL, 2, 0x0, 0x0, 0x0001, 0x0000000000000000, 0x000000000fff00ff}, /* dmov */
    {0x1d, UNIT_CTL, 1, 0x0, 0x0, 0x0001, 0x00ffffffffffffff, 0x1f000000003f00ff}, /* dset */
    {0x1e, UNIT_CTL, 1, 0x0, 0x0, 0x0001, 0x00ffffffffffffff, 0x1f000000003f00ff}, /* dadd */
    {0x20, UNIT_CTL, 0, 0x0, 0x0, 0x0001, 0x000003ffffffffff, 0x1f000000000000ff}, /* wait */
    {0x21, UNIT_CTL, 0, 0x0, 0x0, 0x0001, 0x00000fffffffffff, 0x1ff80000000000ff}, /* signal */
    {0x30, UNIT_MXU, 4, 0x8, 0x0, 0x003f, 0x00000000ffffffff, 0x1f0000ffffff07ff}, /* gemm */
    {0x31, UNIT_MXU, 4, 0xc, 0x0, 0x0003, 0x0000000000000000, 0x000000ffffff01ff}, /* readout */
    {0x32, UNIT_MXU, 2, 0x0, 0x0, 0x0001, 0x0000000000000000, 0x000000000fff00ff}, /* seed */
    {0x40, UNIT_VPU, 3, 0x0, 0x0, 0x0001, 0x0000000000000000, 0x00000003ffff01ff}, /* vadd */
    {0x40, UNIT_VPU, 3, 0x0, 0x4, 0x0002, 0x00000000ffffffff, 0x1f000003ffff01ff}, /* vadd # */
    {0x41, UNIT_VPU, 3, 0x0, 0x0, 0x0001, 0x0000000000000000, 0x00000003ffff01ff}, /* vsub */
    {0x41, UNIT_VPU, 3, 0x0, 0x4, 0x0002, 0x00000000ffffffff, 0x1f000003ffff01ff}, /* vsub # */
    {0x42, UNIT_VPU, 3, 0x0, 0x0, 0x0001, 0x0000000000000000, 0x00000003ffff01ff}, /* vmul */
    {0x42, UNIT_VPU, 3, 0x0, 0x4, 0x0002, 0x00000000ffffffff, 0x1f000003ffff01ff}, /* vmul # */
    {0x43, UNIT_VPU, 3, 0x0, 0x0, 0x0001, 0x0000000000000000, 0x00000003ffff01ff}, /* vdiv */
    {0x43, UNIT_VPU, 3, 0x0, 0x4, 0x0002, 0x00000000ffffffff, 0x1f000003ffff01ff}, /* vdiv # */
    {0x44, UNIT_VPU, 3, 0x0, 0x0, 0x0001, 0x0000000000000000, 0x00000003ffff01ff}, /* vmin */
    {0x44, UNIT_VPU, 3, 0x0, 0x4, 0x0002, 0x00000000ffffffff, 0x1f000003ffff01ff}, /* vmin # */
    {0x45, UNIT_VPU, 3, 0x0, 0x0, 0x0001, 0x0000000000000000, 0x00000003ffff01ff}, /* vmax */
    {0x45, UNIT_VPU, 3, 0x0, 0x4, 0x0002, 0x00000000ffffffff, 0x1f000003ffff01ff}, /* vmax # */
    {0x46, UNIT_VPU, 5, 0x0, 0x0, 0x0001, 0x0000000000000000, 0x00003fffffff00ff}, /* vmuladd2 */
    {0x48, UNIT_VPU, 2, 0x0, 0x0, 0x0001, 0x0000000000000000, 0x000000000fff00ff}, /* vsqrt */
    {0x49, UNIT_VPU, 2, 0x0, 0x0, 0x0001, 0x0000000000000000, 0x000000000fff00ff}, /* vrcp */
    {0x4a, UNIT_VPU, 2, 0x0, 0x0, 0x0001, 0x0000000000000000, 0x000000000fff00ff}, /* vrsqrt */
    {0x4b, UNIT_VPU, 2, 0x0, 0x0, 0x0001, 0x0000000000000000, 0x000000000fff00ff}, /* vexp2 */
    {0x4c, UNIT_VPU, 2, 0x0, 0x0, 0x0005, 0x0000000000000000, 0x000000000fff02ff}, /* vcvt */
    {0x4d, UNIT_VPU, 3, 0x0, 0x0, 0x0555, 0x0000000000000000, 0x00000003ffff0fff}, /* vcmp */
    {0x4d, UNIT_VPU, 3, 0x0, 0x4, 0x0aaa, 0x00000000ffffffff, 0x1f000003ffff0fff}, /* vcmp # */
    {0x4e, UNIT_VPU, 4, 0x0, 0x0, 0x0001, 0x0000000000000000, 0x000000ffffff00ff}, /* vsel */
    {0x4f, UNIT_VPU, 1, 0x0, 0x0, 0x0001, 0x00000000ffffffff, 0x1f000000003f00ff}, /* viota */
    {0x50, UNIT_VPU, 2, 0x0, 0x0, 0x0001, 0x0000000000000000, 0x000000000fff00ff}, /* vscan */
    {0x51, UNIT_VPU, 2, 0x0, 0x0, 0x0001, 0x0000000000000000, 0x000000000fff00ff}, /* vtrans */
    {0x52, UNIT_VPU, 2, 0x0, 0x0, 0x0001, 0x0000000000000000, 0x000000000fff00ff}, /* vcopy */
    {0x58, UNIT_VPU, 3, 0x4, 0x0, 0x0001, 0x00000000ffffffff, 0x1f000003ffff00ff}, /* vrsum */
    {0x59, UNIT_VPU, 3, 0x4, 0x0, 0x0001, 0x00000000ffffffff, 0x1f000003ffff00ff}, /* vrmax */
    {0x5a, UNIT_VPU, 3, 0x4, 0x0, 0x0001, 0x00000000ffffffff, 0x1f000003ffff00ff}, /* vrmin */
    {0x5b, UNIT_VPU, 2, 0x0, 0x0, 0x0001, 0x00000000ffffffff, 0x1f0000000fff00ff}, /* vargmax */
    {0x5c, UNIT_VPU, 3, 0x0, 0x0, 0x0001, 0x00000000ffffffff, 0x1f000003ffff00ff}, /* vtopk */
    {0x5d, UNIT_VPU, 5, 0x10, 0x0, 0x0001, 0x00000000ffffffff, 0x1f003fffffff00ff}, /* vexp2sum */
    {0x60, UNIT_VPU, 2, 0x0, 0x0, 0x0005, 0x00000000ffffffff, 0x1f0000000fff02ff}, /* vquant */
    {0x61, UNIT_VPU, 3, 0x0, 0x0, 0x0005, 0x0000000000000000, 0x00000003ffff02ff}, /* vquantr */
    {0x70, UNIT_DMA0, 2, 0x0, 0x0, 0x0001, 0x0000000f00000000, 0x000000000fff00ff}, /* dma */
    {0x71, UNIT_DMA0, 3, 0x0, 0x0, 0x0001, 0x00fff00f00000000, 0x00000003ffff00ff}, /* dmag */
    {0x72, UNIT_DMA0, 3, 0x0, 0x0, 0x0001, 0x00fff00f00000000, 0x00000003ffff00ff}, /* dmas */
};

const int NUM_FORMS = (int)(sizeof FORMS / sizeof FORMS[0]);

struct hash {
    uint8_t opcode;
    const char *sha256;
};

static const struct hash HASHES[] = {
    {0x01, "9891da8b9252aa3e70783f3745d4c285061ff78d2a9bedce3de182e6e2f72b42"},
    {0x02, "63c7622c33245c3f6abc25f55ea0621f22c1de7c7674ae1825cf1aa117ece4f6"},
    {0x03, "5424a38c4189e25a1ace1270031ab13ea3d4854a2267f4c4866bdce23a2b8e20"},
    {0x04, "e19f31b3995bb0397e5c83a5a8b18fe35e1350ff06d5e18e10f25ce68aff8919"},
    {0x05, "5cbef88df746b53189926b879ca10b2acc88eaedeadb5e16e7066897e6ed4287"},
    {0x06, "278142c314388a2f25188d16fb146b13bbfe452fe8e40bec05fcae4da9cfe0a6"},
    {0x07, "65049043ca4746ffa120857cf46c5bbd7e6556d71c166802d355a76cbace70cc"},
    {0x08, "e3ddff9fe33962bdba4f07811594df12c83e313aee8b5c7713e38a5916b5824f"},
    {0x09, "8723fe8ed594a515aff11be812efe1712695604951280d7b3d0a5347328fc895"},
    {0x0a, "f5f30f53b46d1e43c2bfbb136fea2af128894a44d7a42f80c9eaade0f5f77ed1"},
    {0x0b, "4426f2a196f06915996ed838556f7b2bfcf17702963632e5e0f539d4cf54409d"},
    {0x0c, "079cb35f38ed8e7f5583875263dd4e311db0040f9cfe7184d635f3273dd0caaf"},
    {0x0d, "2409b08cd8256e2b55b5d0bdf9aa37ebcbddb192eb9bf1266856215d8a1ffca6"},
    {0x0e, "c749bb2d50600432a7fb8681c852f4503fe25ff1ac4d87aa52d51dec707f99a6"},
    {0x0f, "0003c469a4565e44f02167fa090a7f1e697010af06c5ecb9998d77a69665055c"},
    {0x10, "aabb5c14df0d409577aeeacb086ef30df26a614e8b9667d94db968340e2b8070"},
    {0x11, "64ba7851a4b23e1226f72ddd3707c8fefab1a666129982920e57d10b42d893c6"},
    {0x12, "28666a93c036dba78980a2219f1e21268672e1c4eb452f2b8594ddebccbe040e"},
    {0x13, "48e3c04ea791aaed5533ecc6e8aef0c27cf9a8f2290108ea6577b17e17536ca2"},
    {0x14, "73f68c680244d5ab3c915c69ddc3b1de38a295e53415f52d1fb3719b110a7e58"},
    {0x15, "3d9ffadb2c06eb8d6b3f4dc3dae15c3bb61a7f42ca63be2a8be4ca7510c4f469"},
    {0x16, "adb75858403bf486bd32e40b548474b337b2d996a986c0f1ed42cde146607fdf"},
    {0x17, "9a1236f9600521cb94ff03781985139bc6ebe05edaf642995963706ea3eeafe5"},
    {0x18, "e4eaac50e5ca34e14a4a50f961b8c23a8ad84401c87abaeeae2aa744829539b3"},
    {0x19, "4371586182271da84fdd1554a4c79381ab7efb8092f7b04098d0adc154b53de7"},
    {0x1a, "2d0fde6c1d4a161affbbd440512bb36fcaa39e2df9873120e8459491f3b1e9f4"},
    {0x1b, "17f3f56fd7e1e84faa004686f9e09bb9e29adb0793bdf727f172c356bba0399f"},
    {0x1c, "d14a1ef4feb75e8fa260aa62e7fb6df85efe6776ac3c825cd0a54ddf3f6f9fd9"},
    {0x1d, "f8f0ddedd82ce3519fe8b2266849a21baf7cfb8430b265d9b0182411ba3d2162"},
    {0x1e, "d6bcd2f45082efc7fb5ac6bee93e0aaf481e688fe96d349d68dae103014849fa"},
    {0x20, "929034c40d68227abda9d6397776f09eec761ae6b58cbf4039b50de65d99d02e"},
    {0x21, "bd4ddda447ab793ddbbb4c79ab12613cf310341eb38f964d404560531d124cfd"},
    {0x30, "31955215e0584aa55a71310ce6318957d2540780c5a7052629f0d122755960d5"},
    {0x31, "55e88910922af2e251ef907090e12f144de638e943edbe139d0c4e131bf19034"},
    {0x32, "bd687218cde2bc4b8ecbe7c9f7c1ff98885b068e83b72acb70de0e948e55471e"},
    {0x40, "a38358b61e979dd3fb334bd3384c0274b760727d5e7fc9798239df9dcb47ade0"},
    {0x41, "f9a5eb91675ab64992c9bc4fc9e1ba7826efc9b69cfb9166b4f5af893c8484f8"},
    {0x42, "a1b4b5b98723452ca5f9fb90885fcfe9eac6bf866a1b29f88d14fd28ad8efe17"},
    {0x43, "0c3d331ab8ac438ddddfca988a17f8ab63261c61ede3bde0c069cffe7fbf3631"},
    {0x44, "84a360945151a2cf1ce57273b0a86824a10720f183393bed573d5b8a41db1284"},
    {0x45, "4f9bee98299a7dfe76f67d063105616caaf0d2d2da20b2aac42711ed38787e1c"},
    {0x46, "41490aaa53ce5c93543213f943ac0ca1bdd8c01b21ec7f665edebc7628e1b520"},
    {0x48, "10c884141ff24f1b7cd271ac1bf7eeff43eacdb55d14906f79e8041909c61dc5"},
    {0x49, "02453b324813fdcadec13bb7a5e34faff11e5a6b51dc31ededb429d7a9cbbdcf"},
    {0x4a, "d06c4063f886b8ef888d19febce84a8f07ba5873de6eda89bb20153ddd270f72"},
    {0x4b, "21bb7e06baaea15d62b8f31f8e2966139e7474d56e05f21173c02a02618115d4"},
    {0x4c, "8369011b22584a189a06e1b4f2a126b6833bb581d7bc7130763783c287461d7b"},
    {0x4d, "4badb91532e54c5971d41796ffd4e227e96ce737abbc5a51bd714bb730e43970"},
    {0x4e, "8bb944bab27e7dc8d7d730502a4f3c4fd9a1c02a4d521453dbbf8b56585762fb"},
    {0x4f, "98a4c884db2d9724d56d6d4d0b0d64a76f1d78e65436901e6dbf7e7d4023b6b7"},
    {0x50, "8a287f607dbc6642c73f9b567a7418d3947ba5e8c3307928985b35dca53ca843"},
    {0x51, "94616625254765b901356a0ccf84906ae262e240643e5f84c260296e29c32ed4"},
    {0x52, "c28e0d829c88f41a95d3e2acddab028a2acb246a429d96cad6d83c013f83eb1f"},
    {0x58, "cefa986200b34e6e50a9a1a56855069c62e95e4714336021ddfbd6249bf67379"},
    {0x59, "618c3785fe5306c1265ec0874b0bd4291c707cde99c9ebb081ea9afa1968e472"},
    {0x5a, "c326c089d9cfba67c8e8a079e643bdd57ff4dea3237bb164cee81cf1e8f03b51"},
    {0x5b, "401f9d5a0fd51ad673fd855c37fe54c985fad4dc05a3877fc208823ff5ed8bb6"},
    {0x5c, "796c736c9240a9dc6fb4b3071f3604f95c2e11739e0951b530af2d52ea787caa"},
    {0x5d, "05b0e1c50327f395ab2eb79dae21696757dc88b39295e929e6916d2c1e1add17"},
    {0x60, "401afbcb034bcbe46ca37d4bc7ed0175a495bc7612d914a58e9cc17d6bd9661a"},
    {0x61, "6c9243d6b0887152960a57a97438dbde18607492769851aff8dde96f611c23db"},
    {0x70, "4da444dbd9a22abf129102020d40877c83af532a39aa7150d2bf1e1f0024a83f"},
    {0x71, "b0b1f335010a17cdedb14e04ec7a23eb52064a0d4a4abb4f4a3d736775d92bd6"},
    {0x72, "80e65fa9ce594dbd858322231d94ff8cd72b10d1e589369523539f0fead90d7e"},
};

const char *instruction_hash(uint32_t opcode)
{
    for (size_t i = 0; i < sizeof HASHES / sizeof HASHES[0]; i++)
        if (HASHES[i].opcode == opcode)
            return HASHES[i].sha256;
    return NULL;
}

const char *fault_name(enum fault fault)
{
    static const char *const names[] = {
        "none",           "illegal_instruction", "out_of_bounds",      "misaligned",
        "format_mismatch", "shape_mismatch",     "bad_space",          "bad_descriptor",
        "bad_tile",       "read_only",           "semaphore_overflow", "semaphore_waiter",
        "bad_count",      "divide_by_zero",      "loop_depth",         "call_depth",
        "bad_pc",         "deadlock"};
    return names[fault];
}

static bool descriptors_legal(const struct form *form, struct word word)
{
    for (unsigned i = 0; i < form->descriptors; i++) {
        unsigned d = field_d(word, i);
        if ((form->absent >> i & 1) != 0) {
            if (d != NO_DESCRIPTOR)
                return false;
        } else if (d >= NUM_DESCRIPTORS && !(d == NO_DESCRIPTOR && (form->optional >> i & 1) != 0)) {
            return false;
        }
    }
    return true;
}

/* Units, fields and special registers have codes that mean nothing. */
static bool selectors_legal(const struct form *form, struct word word)
{
    switch (form->opcode) {
    case OP_WAIT:
    case OP_SIGNAL:
        return field_unit(word) < NUM_UNITS;
    case OP_DMA:
    case OP_DMAG:
    case OP_DMAS:
        return field_unit(word) >= UNIT_DMA0 && field_unit(word) < NUM_UNITS;
    case OP_RDSR:
        return field_sel(word) <= NUM_CHIPS;
    case OP_DSET:
    case OP_DADD:
        return field_sel(word) <= 14;
    default:
        return true;
    }
}

static bool form_fits(const struct form *form, struct word word)
{
    unsigned flags = field_flags(word);
    return (word.low & ~form->low) == 0 && (word.high & ~form->high) == 0 && flags < 16 &&
           (form->flags >> flags & 1) != 0 && descriptors_legal(form, word) &&
           selectors_legal(form, word);
}

const struct form *decode(struct word word)
{
    for (int i = 0; i < NUM_FORMS; i++)
        if (FORMS[i].opcode == (word.low & 0xff) && form_fits(&FORMS[i], word))
            return &FORMS[i];
    return NULL;
}
