/*
 * Names that flush routines cut out of a kernel, or written against a C library, rely on.
 *
 * The first part is always given to the compiler. Of the second part, below the line "On demand", only
 * what a routine needs is, and nothing that the routine's own text or --define defines: kernels of many
 * versions and programs of any kind then agree with it. Everything here compiles without any other header,
 * with kernel flags. Values are those of x86-64 Linux with 4 KiB pages. Error numbers, in prelude-errno.h, are
 * on demand too.
 *
 * A word that is an attribute in the kernel is here what it is there (compiler_attributes.h, compiler_types.h,
 * init.h), as far as the code may depend on it. Those that are nothing here are about sections, checkers,
 * tracing, sanitizers, or i386.
 */
#define __maybe_unused
#define __always_unused
#define __used __attribute__((__used__))
#define __init __attribute__((__cold__))
#define __exit __attribute__((__cold__))
#define __initdata
#define __exitdata
#define __initconst
#define __devinit __attribute__((__cold__))
#define __meminit __attribute__((__cold__))
#define __ref __attribute__((__noinline__))
#define __refdata
#define noinstr __attribute__((__noinline__))
#define noinline __attribute__((__noinline__))
#define __noinline __attribute__((__noinline__))
#define noinline_for_stack __attribute__((__noinline__))
#define __always_inline inline __attribute__((__always_inline__))
#define __forceinline inline __attribute__((__always_inline__))
#define asmlinkage
#define __visible
#define notrace
#define __read_mostly
#define __ro_after_init
#define __cold __attribute__((__cold__))
#define __hot __attribute__((__hot__))
#define __pure __attribute__((__pure__))
#define __attribute_const__ __attribute__((__const__))
#define __malloc __attribute__((__malloc__))
#define __weak __attribute__((__weak__))
#define __must_check
#define __noreturn __attribute__((__noreturn__))
#define __cpuidle __attribute__((__noinline__))
#define __kprobes
#define nokprobe_inline inline __attribute__((__always_inline__))
#define __latent_entropy
#define __user
#define __iomem
#define __percpu
#define __rcu
#define __force
#define __kernel
#define __bitwise
#define __packed __attribute__((__packed__))
#define __cacheline_aligned __attribute__((__aligned__(64)))
#define __cacheline_aligned_in_smp __attribute__((__aligned__(64)))
#define ____cacheline_aligned __attribute__((__aligned__(64)))
#define ____cacheline_aligned_in_smp __attribute__((__aligned__(64)))
#define __page_aligned_data __attribute__((__aligned__(4096)))
#define __page_aligned_bss __attribute__((__aligned__(4096)))
#define __randomize_layout
#define __noclone __attribute__((__noclone__))
#define __no_sanitize_address
#define __no_kcsan
#define __no_stack_protector __attribute__((__no_stack_protector__))
#define __nocfi
#define __flatten __attribute__((__flatten__))
#define __deprecated
#define __private
#define __hidden
#define __lockfunc
#define __sched
#define __entry_text
#define __cpuinit __attribute__((__cold__))
#define __net_init
#define __net_exit
#define fastcall
#define __fastcall
#define __cdecl
#define __aligned(x) __attribute__((__aligned__(x)))
#define __section(x)
#define __printf(a, b)
#define __acquires(x)
#define __releases(x)
#define __must_hold(x)
#define __counted_by(x)
#define NULL ((void *)0)
#define bool _Bool
#define true 1
#define false 0
#define offsetof(t, m) __builtin_offsetof(t, m)
#ifdef __x86_64__
#define __l1dflush_asm(l, q) q
#else
#define __l1dflush_asm(l, q) l
#endif

/* See IS_ENABLED. */
#define __l1dflush_comma_1 0,

/* On demand */

#define __ASM_SEL(a, b) __l1dflush_asm(#a, #b)
#define __ASM_FORM(x) " " #x " "
#define _ASM_AX __l1dflush_asm("eax", "rax")
#define _ASM_BX __l1dflush_asm("ebx", "rbx")
#define _ASM_CX __l1dflush_asm("ecx", "rcx")
#define _ASM_DX __l1dflush_asm("edx", "rdx")
#define _ASM_SI __l1dflush_asm("esi", "rsi")
#define _ASM_DI __l1dflush_asm("edi", "rdi")
#define _ASM_BP __l1dflush_asm("ebp", "rbp")
#define _ASM_SP __l1dflush_asm("esp", "rsp")
#define _ASM_PTR __l1dflush_asm(" .long ", " .quad ")
#define _ASM_ALIGN __l1dflush_asm(" .balign 4 ", " .balign 8 ")
#define _ASM_MOV __l1dflush_asm("movl ", "movq ")
#define _ASM_INC __l1dflush_asm("incl ", "incq ")
#define _ASM_DEC __l1dflush_asm("decl ", "decq ")
#define _ASM_ADD __l1dflush_asm("addl ", "addq ")
#define _ASM_SUB __l1dflush_asm("subl ", "subq ")
#define _ASM_XADD __l1dflush_asm("xaddl ", "xaddq ")
#define _ASM_MUL __l1dflush_asm("mull ", "mulq ")
#define _ASM_SIZE(x) __l1dflush_asm(#x "l ", #x "q ")

typedef signed char s8;
typedef unsigned char u8;
typedef short s16;
typedef unsigned short u16;
typedef int s32;
typedef unsigned int u32;
typedef long long s64;
typedef unsigned long long u64;
typedef signed char __s8;
typedef unsigned char __u8;
typedef short __s16;
typedef unsigned short __u16;
typedef int __s32;
typedef unsigned int __u32;
typedef long long __s64;
typedef unsigned long long __u64;
typedef __INT8_TYPE__ int8_t;
typedef __UINT8_TYPE__ uint8_t;
typedef __INT16_TYPE__ int16_t;
typedef __UINT16_TYPE__ uint16_t;
typedef __INT32_TYPE__ int32_t;
typedef __UINT32_TYPE__ uint32_t;
typedef __INT64_TYPE__ int64_t;
typedef __UINT64_TYPE__ uint64_t;
typedef __INTPTR_TYPE__ intptr_t;
typedef __UINTPTR_TYPE__ uintptr_t;
typedef __INTMAX_TYPE__ intmax_t;
typedef __UINTMAX_TYPE__ uintmax_t;
typedef __PTRDIFF_TYPE__ ptrdiff_t;
typedef __SIZE_TYPE__ size_t;
typedef long ssize_t;
typedef long off_t;
typedef long long loff_t;
typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef unsigned char u_char;
typedef unsigned short u_short;
typedef unsigned int u_int;
typedef unsigned long u_long;
typedef unsigned int gfp_t;
typedef unsigned long phys_addr_t;
typedef unsigned long dma_addr_t;
typedef unsigned long paddr_t;
typedef unsigned long vaddr_t;
typedef unsigned long vm_offset_t;
typedef struct { int counter; } atomic_t;
typedef struct { long counter; } atomic64_t;
struct static_key { int enabled; };
struct static_key_true { struct static_key key; };
struct static_key_false { struct static_key key; };

#define INT8_MAX 127
#define UINT8_MAX 255
#define INT16_MAX 32767
#define UINT16_MAX 65535
#define INT32_MAX __INT32_MAX__
#define UINT32_MAX __UINT32_MAX__
#define INT64_MAX __INT64_MAX__
#define UINT64_MAX __UINT64_MAX__
#define SIZE_MAX __SIZE_MAX__
#define UINTPTR_MAX __UINTPTR_MAX__
#define INT_MAX __INT_MAX__
#define UINT_MAX (__INT_MAX__ * 2U + 1U)
#define LONG_MAX __LONG_MAX__
#define ULONG_MAX (__LONG_MAX__ * 2UL + 1UL)
#define CHAR_BIT 8
#define UINT32_C(x) x##U
#define UINT64_C(x) x##UL
#define UL(x) x##UL
#define ULL(x) x##ULL
#define _AC(x, y) x##y
#define _UL(x) x##UL
#define BITS_PER_LONG (__SIZEOF_LONG__ * 8)

#define PAGE_SHIFT 12
#define PAGE_SIZE 4096UL
#define PAGE_MASK (~((1UL << 12) - 1))
#define PAGE_ALIGN(x) (((x) + 4095UL) & ~4095UL)
#define SMP_CACHE_BYTES 64
#define L1_CACHE_SHIFT 6
#define L1_CACHE_BYTES 64
#define CACHE_LINE_SIZE 64
#define SZ_1K 0x400
#define SZ_2K 0x800
#define SZ_4K 0x1000
#define SZ_8K 0x2000
#define SZ_16K 0x4000
#define SZ_32K 0x8000
#define SZ_64K 0x10000
#define SZ_128K 0x20000
#define SZ_256K 0x40000
#define SZ_512K 0x80000
#define SZ_1M 0x100000
#define SZ_2M 0x200000
#define KB(x) ((x) * 1024UL)
#define MB(x) ((x) * 1048576UL)
#define KiB 1024UL
#define MiB 1048576UL
#define HZ 1000

#define GFP_KERNEL 0xcc0U
#define __GFP_ZERO 0x100U

#define BIT(n) (1UL << (n))
#define BIT_ULL(n) (1ULL << (n))
#define GENMASK(h, l) ((~0UL << (l)) & (~0UL >> (63 - (h))))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define DIV_ROUND_UP(n, d) (((n) + (d) - 1) / (d))
#define ALIGN(x, a) (((x) + (__typeof__(x))(a) - 1) & ~((__typeof__(x))(a) - 1))
#define ALIGN_DOWN(x, a) ((x) & ~((__typeof__(x))(a) - 1))
#define PTR_ALIGN(p, a) ((__typeof__(p))(((unsigned long)(p) + (a) - 1) & ~((unsigned long)(a) - 1)))
#define IS_ALIGNED(x, a) (((x) & ((__typeof__(x))(a) - 1)) == 0)
#define round_up(x, y) ((((x) - 1) | ((__typeof__(x))((y) - 1))) + 1)
#define round_down(x, y) ((x) & ~((__typeof__(x))((y) - 1)))
#define roundup(x, y) ((((x) + (y) - 1) / (y)) * (y))
#define rounddown(x, y) ((x) - ((x) % (y)))
#define min(a, b) ((a) < (b) ? (a) : (b))
#define max(a, b) ((a) > (b) ? (a) : (b))
#define min_t(t, a, b) ((t)(a) < (t)(b) ? (t)(a) : (t)(b))
#define max_t(t, a, b) ((t)(a) > (t)(b) ? (t)(a) : (t)(b))
#define container_of(p, t, m) ((t *)((char *)(p) - __builtin_offsetof(t, m)))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define __predict_true(x) __builtin_expect(!!(x), 1)
#define __predict_false(x) __builtin_expect(!!(x), 0)
#define __stringify_1(x...) #x
#define __stringify(x...) __stringify_1(x)
#define stringify(x) __stringify(x)
#define __unused __attribute__((__unused__))
#define fallthrough __attribute__((__fallthrough__))
#define asm_inline __asm__ __inline__
#define asm_volatile_goto(x...) __asm__ goto(x)
#define BUILD_BUG_ON(c)
#define WARN_ON(c) (!!(c))
#define WARN_ON_ONCE(c) (!!(c))
#define BUG_ON(c) do { if (c) __builtin_trap(); } while (0)
#define static_assert _Static_assert
/* Its expression counts, unless NDEBUG is defined: then it is not even looked at. */
#define __l1dflush_text(x) __l1dflush_text_(x)
#define __l1dflush_text_(x) #x
#define assert(c) (__builtin_strcmp(__l1dflush_text(NDEBUG), "NDEBUG") ? (void)0 : (c) ? (void)0 : __builtin_trap())
#define __kernel_section
#define EXPORT_SYMBOL(x) struct __export_##x
#define EXPORT_SYMBOL_GPL(x) struct __export_##x
#define STACK_FRAME_NON_STANDARD(x) struct __frame_##x
/* 1 if x is defined as 1, else 0: pasted behind __l1dflush_comma_, only 1 makes a name that is something. */
#define __l1dflush_second(a, b, ...) b
#define __l1dflush_is__(pasted) __l1dflush_second(pasted 1, 0)
#define __l1dflush_is_(x) __l1dflush_is__(__l1dflush_comma_##x)
#define __l1dflush_is(x) __l1dflush_is_(x)
#define IS_BUILTIN(x) __l1dflush_is(x)
#define IS_MODULE(x) __l1dflush_is(x##_MODULE)
#define IS_ENABLED(x) (__l1dflush_is(x) || __l1dflush_is(x##_MODULE))
#define IS_REACHABLE(x) (__l1dflush_is(x) || (__l1dflush_is(x##_MODULE) && __l1dflush_is(MODULE)))
#define CONFIG_X86 1
#define CONFIG_X86_64 1
#define CONFIG_64BIT 1
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))

#define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))
#define ACCESS_ONCE(x) (*(volatile __typeof__(x) *)&(x))
#define barrier() __asm__ __volatile__("" : : : "memory")
#define barrier_data(p) __asm__ __volatile__("" : : "r"(p) : "memory")
#define OPTIMIZER_HIDE_VAR(v) __asm__("" : "=r"(v) : "0"(v))
#define mb() __asm__ __volatile__("mfence" : : : "memory")
#define rmb() __asm__ __volatile__("lfence" : : : "memory")
#define wmb() __asm__ __volatile__("sfence" : : : "memory")
#define smp_mb() __asm__ __volatile__("mfence" : : : "memory")
#define smp_rmb() __asm__ __volatile__("" : : : "memory")
#define smp_wmb() __asm__ __volatile__("" : : : "memory")
#define barrier_nospec() __asm__ __volatile__("lfence" : : : "memory")
#define cpu_relax() __asm__ __volatile__("pause" : : : "memory")
#define cpu_spinwait() __asm__ __volatile__("pause" : : : "memory")
#define wbinvd() __asm__ __volatile__("wbinvd" : : : "memory")
#define native_wbinvd() __asm__ __volatile__("wbinvd" : : : "memory")
#define clflush(p) __asm__ __volatile__("clflush %0" : "+m"(*(volatile char *)(p)))
#define clflushopt(p) __asm__ __volatile__("clflushopt %0" : "+m"(*(volatile char *)(p)))
#define clwb(p) __asm__ __volatile__("clwb %0" : "+m"(*(volatile char *)(p)))
#define prefetch(p) __builtin_prefetch(p)
#define prefetchw(p) __builtin_prefetch((p), 1)
#define _mm_clflush(p) __asm__ __volatile__("clflush %0" : "+m"(*(volatile char *)(p)))
#define _mm_clflushopt(p) __asm__ __volatile__("clflushopt %0" : "+m"(*(volatile char *)(p)))
#define _mm_clwb(p) __asm__ __volatile__("clwb %0" : "+m"(*(volatile char *)(p)))
#define _mm_lfence() __asm__ __volatile__("lfence" : : : "memory")
#define _mm_mfence() __asm__ __volatile__("mfence" : : : "memory")
#define _mm_sfence() __asm__ __volatile__("sfence" : : : "memory")
#define _mm_pause() __asm__ __volatile__("pause" : : : "memory")
#define _MM_HINT_NTA 0
#define _MM_HINT_T2 1
#define _MM_HINT_T1 2
#define _MM_HINT_T0 3
#define _mm_prefetch(p, hint) __builtin_prefetch((p), 0, (hint))
#define cpuid(leaf, a, b, c, d) \
	__asm__ __volatile__("cpuid" : "=a"(*(a)), "=b"(*(b)), "=c"(*(c)), "=d"(*(d)) : "0"(leaf), "2"(0) : "memory")
#define __cpuid(leaf, a, b, c, d) \
	__asm__ __volatile__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "0"(leaf), "2"(0) : "memory")
#define sync_core() do { unsigned int a_ = 1, b_, c_ = 0, d_; \
	__asm__ __volatile__("cpuid" : "+a"(a_), "=b"(b_), "+c"(c_), "=d"(d_) : : "memory"); } while (0)
#define serialize() __asm__ __volatile__(".byte 0x0f, 0x01, 0xe8" : : : "memory")
#define wrmsr(msr, low, high) __asm__ __volatile__("wrmsr" : : "c"(msr), "a"(low), "d"(high) : "memory")
#define wrmsrl(msr, v) \
	__asm__ __volatile__("wrmsr" : : "c"(msr), "a"((unsigned int)(v)), "d"((unsigned int)((unsigned long)(v) >> 32)) : "memory")
#define wrmsrq(msr, v) wrmsrl(msr, v)
#define native_wrmsrl(msr, v) wrmsrl(msr, v)
#define native_wrmsrq(msr, v) wrmsrl(msr, v)
#define native_wrmsr(msr, low, high) wrmsr(msr, low, high)

#define MSR_IA32_FLUSH_CMD 0x0000010b
#define MSR_FLUSH_CMD 0x0000010b
#define L1D_FLUSH 1UL
#define FLUSH_CMD_L1D 1UL

/* A feature or a static key is code that gets patched; until then, a flag in memory that nobody knows. */
#define static_cpu_has(bit) ({ extern const volatile unsigned char cpu_has_##bit; cpu_has_##bit != 0; })
#define boot_cpu_has(bit) ({ extern const volatile unsigned char cpu_has_##bit; cpu_has_##bit != 0; })
#define cpu_feature_enabled(bit) ({ extern const volatile unsigned char cpu_has_##bit; cpu_has_##bit != 0; })
#define this_cpu_has(bit) ({ extern const volatile unsigned char cpu_has_##bit; cpu_has_##bit != 0; })
#define boot_cpu_has_bug(bit) ({ extern const volatile unsigned char cpu_has_##bit; cpu_has_##bit != 0; })
#define static_branch_likely(k) (*(const volatile int *)(k) != 0)
#define static_branch_unlikely(k) (*(const volatile int *)(k) != 0)
#define static_key_enabled(k) (*(const volatile int *)(k) != 0)
#define DEFINE_STATIC_KEY_FALSE(n) struct static_key_false n
#define DEFINE_STATIC_KEY_TRUE(n) struct static_key_true n
#define DECLARE_STATIC_KEY_FALSE(n) extern struct static_key_false n
#define DECLARE_STATIC_KEY_TRUE(n) extern struct static_key_true n
/* A per-CPU variable is this CPU's own. Its type may be that of an array, which is not a word in front of the name. */
#define DEFINE_PER_CPU(t, n) __typeof__(t) n
#define DECLARE_PER_CPU(t, n) extern __typeof__(t) n
#define DEFINE_PER_CPU_ALIGNED(t, n) __typeof__(t) n __attribute__((aligned(64)))
#define DECLARE_PER_CPU_ALIGNED(t, n) extern __typeof__(t) n __attribute__((aligned(64)))
#define DEFINE_PER_CPU_SHARED_ALIGNED(t, n) __typeof__(t) n __attribute__((aligned(64)))
#define DECLARE_PER_CPU_SHARED_ALIGNED(t, n) extern __typeof__(t) n __attribute__((aligned(64)))
#define DEFINE_PER_CPU_PAGE_ALIGNED(t, n) __typeof__(t) n __attribute__((aligned(4096)))
#define DECLARE_PER_CPU_PAGE_ALIGNED(t, n) extern __typeof__(t) n __attribute__((aligned(4096)))
#define this_cpu_ptr(p) (p)
#define raw_cpu_ptr(p) (p)
#define get_cpu_ptr(p) (p)
#define put_cpu_ptr(p) ((void)(p))
#define get_cpu_var(x) (x)
#define put_cpu_var(x) ((void)&(x))
#define this_cpu_read(x) (*(const volatile __typeof__(x) *)&(x))
#define __this_cpu_read(x) (*(const volatile __typeof__(x) *)&(x))
#define raw_cpu_read(x) (*(const volatile __typeof__(x) *)&(x))
