# shellcheck shell=sh
want javac default-jdk-headless
jna=/usr/share/java/jna.jar
want_file $jna libjna-java
newer=$("$source/scripts/java-runtime" "$source/build/cache") || newer=
newer_javac=${newer%/java}/javac
[ -x "$newer_javac" ] || newer_javac=
JAVAC22=$newer_javac passes ./build.sh "$work/hostcrst.jar" "$work/classes"
javac -Xlint:all,-try -Werror --release 17 -cp "$work/hostcrst.jar" -d "$work" ./*.java

inside() { # inside <class> <argument>...: by $java, with $options
    # shellcheck disable=SC2086 # options, to be split
    "$java" $options --enable-native-access=ALL-UNNAMED -XX:TieredStopAtLevel=1 "$@"
}

all_of_it() {
    prints "refused: deadlock; both went on" inside Deadlock
    HOSTCRST_HOLDS=1 prints "7 tests passed" inside CriticalSectionTest "$work/report" 3>"$work/report"
}

folder=$(dirname "$library")
java=java options="-Djna.library.path=$folder -Djava.library.path=$folder -cp $work/hostcrst.jar:$work:$jna"
all_of_it
if [ -n "$newer_javac" ]; then
    java=$newer options="-Djava.library.path=$folder -cp $work/hostcrst.jar:$work"
    all_of_it
else
    echo "not run: Java's own foreign functions, which a javac of Java 22 compiles"
fi
if [ -n "$newer" ]; then
    java=$newer
    prints "virtual threads are refused" inside VirtualThreadTest
else
    echo "not run: virtual threads, which begin with Java 21"
fi
