/* What nearly every file of the lab kernel includes, directly or not: see kernel-cc.sh. */
#include <linux/compiler-version.h>
#include <linux/kconfig.h>
#include <linux/compiler_types.h>
#include <linux/netdevice.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <net/sock.h>
#include <net/ipv6.h>
#include <net/xfrm.h>
