# shellcheck shell=sh
want node nodejs
want cc gcc
want pkg-config pkg-config
want_file "$(node -p "require('path').resolve(process.execPath, '../../include/node/node_api.h')")" libnode-dev
for_pkg_config
if command -v tsc >/dev/null; then
    passes tsc --noEmit --strict --target es2022 --module commonjs types.ts
else
    echo "not run: what index.d.ts declares: tsc is missing: apt-get install node-typescript"
fi
cp build.sh hostcrst.c ./*.js "$work"
cd "$work"
./build.sh

prints "refused: deadlock; both went on" node deadlock.js
passes node test.js
HOSTCRST_HOLDS=1 passes node test.js
