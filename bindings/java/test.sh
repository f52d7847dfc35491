# shellcheck shell=sh
want javac default-jdk-headless
jna=/usr/share/java/jna.jar
want_file $jna libjna-java
javac -Xlint:all,-try -Werror --release 17 -cp $jna -d "$work" hostcrst/*.java ./*.java

inside() { # inside <java> <class> <argument>...
    java=$1
    shift
    "$java" "-Djna.library.path=$(dirname "$library")" --enable-native-access=ALL-UNNAMED -XX:TieredStopAtLevel=1 \
        -cp "$jna:$work" "$@"
}

prints "refused: deadlock; both went on" inside java Deadlock
HOSTCRST_HOLDS=1 prints "6 tests passed" inside java CriticalSectionTest "$work/report" 3>"$work/report"
if newer=$("$source/scripts/java-runtime" "$source/build/cache"); then
    prints "virtual threads are refused" inside "$newer" VirtualThreadTest
else
    echo "not run: virtual threads, which begin with Java 21"
fi
