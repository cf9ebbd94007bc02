# The warning set of the house. trireme_warnings(TARGET [NO_CONVERSION]) is called for each target of our own code;
# generated code and third-party headers are SYSTEM and stay outside of it.
set(TRIREME_WARNINGS -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wwrite-strings
    -Wpointer-arith -Wformat=2 -Wundef -Wcast-align -Wimplicit-fallthrough -fno-common -fno-strict-aliasing)
# gcc decides what is an error; clang, used for the fuzzers, only shows its own opinion, which differs in -Wcast-align.
if(CMAKE_C_COMPILER_ID MATCHES Clang)
  list(REMOVE_ITEM TRIREME_WARNINGS -Werror -Wcast-align)
endif()

function(trireme_warnings target)
  cmake_parse_arguments(ARG "NO_CONVERSION" "" "" ${ARGN})
  target_compile_options(${target} PRIVATE ${TRIREME_WARNINGS}
      -include ${CMAKE_SOURCE_DIR}/common/banned.h)
  if(NOT ARG_NO_CONVERSION)
    target_compile_options(${target} PRIVATE -Wconversion)
  endif()
endfunction()

add_compile_options($<$<CONFIG:Release>:-O2> $<$<CONFIG:Release>:-g1>)
string(REPLACE "-O3" "-O2" CMAKE_C_FLAGS_RELEASE "${CMAKE_C_FLAGS_RELEASE}")
string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_RELEASE "${CMAKE_C_FLAGS_RELEASE}")
add_compile_definitions(_GNU_SOURCE $<$<BOOL:${TRIREME_DCHECK}>:TRIREME_DCHECK=1>)
# Messages name files from the root of the source, wherever it was built.
add_compile_options(-fmacro-prefix-map=${CMAKE_SOURCE_DIR}/=)
add_link_options(-Wl,--as-needed)
if(SANITIZE)
  add_compile_options(-fsanitize=${SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${SANITIZE})
endif()
# The fuzzers steer by coverage, so the code under test must report it, not only the target's own file.
if(TRIREME_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
