# shellcheck shell=sh
want javac default-jdk-headless
jna=/usr/share/java/jna.jar
want_file $jna libjna-java
javac -Xlint:all,-try -Werror --release 17 -cp $jna -d "$work" hostcrst/*.java ./*.java

inside() { # inside <class> <argument>...
    java "-Djna.library.path=$(dirname "$library")" -Xshare:auto -XX:TieredStopAtLevel=1 -cp "$jna:$work" "$@"
}

prints "refused: deadlock; both went on" inside Deadlock
HOSTCRST_HOLDS=1 passes inside CriticalSectionTest "$work/report" 3>"$work/report"
grep -h "not run" "$work/out" || true
