#!/bin/sh
# The compiler of the lab kernel: gcc, which parses the headers that nearly every file includes
# (lab-headers.h) once, with the first file, instead of with each.
# gcc takes a precompiled header only where macros are as they were, so what names the file comes
# after it. A file that cannot do with it is compiled in the ordinary way.

headers=lab-headers.h

quickly() {
    names='' source='' object=''
    for argument; do
        shift
        case $argument in
        -D*KBUILD_*)
            argument=${argument#-D}
            names="$names#define ${argument%%=*} ${argument#*=}
" ;;
        -c | -o) ;;
        *.c) source=$argument ;;
        *.o) object=$argument ;;
        # It refuses to be included twice, and the headers begin with it.
        */linux/compiler-version.h) set -- "$@" /dev/null ;;
        *) set -- "$@" "$argument" ;;
        esac
    done
    [ -e $headers.gch ] || gcc "$@" -x c-header $headers -o $headers.gch || return
    printf %s "$names" >"$object.names.h" || return
    gcc -Werror=invalid-pch -include $headers -include "$object.names.h" "$@" \
        -c -o "$object" "$source"
}

case " $* " in
*" scripts/"*) ;; # before there are all headers
*" -nostdinc "*" -c -o "*.c\ ) quickly "$@" 2>/dev/null && exit ;;
esac
exec gcc "$@"
