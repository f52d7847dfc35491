#!/bin/sh
# build.sh JAR [FOLDER]: makes the package of the sources here, for Java 17 and later; what is compiled stays in the folder,
# if one is named. A javac of Java 22 or later, $JAVAC22, adds what calls the library without JNA on such a Java. JNA is
# needed to compile the rest: $JNA.
set -eu
jar=$(realpath "$1")
classes=${2:-$(mktemp -d)}
[ -n "${2:-}" ] || trap 'rm -rf "$classes"' EXIT
cd "$(dirname "$0")"
mkdir -p "$classes/17" "$classes/22"
javac -Xlint:all,-try -Werror --release 17 -cp "${JNA:-/usr/share/java/jna.jar}" -d "$classes/17" hostcrst/*.java jna/hostcrst/*.java
if [ -z "${JAVAC22:-}" ]; then
    jar --create --file "$jar" -C "$classes/17" hostcrst
    exit
fi
# -restricted: to call C is what this is for.
"$JAVAC22" -Xlint:all,-try,-restricted -Werror --release 22 -cp "$classes/17" -d "$classes/22" ffm/hostcrst/*.java
# The jar of an older Java does not know such classes.
"${JAVAC22%javac}jar" --create --file "$jar" -C "$classes/17" hostcrst --release 22 -C "$classes/22" hostcrst
