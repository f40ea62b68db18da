#!/bin/sh
# A headless Chromium for the tests of HTML pages: one that is there, else Playwright's own build, else, on a machine of
# CI, the package of the distribution. Where there is none to be had, nothing fails: the tests say why they are skipped.
playwright=$1
for name in chromium-headless-shell chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null && exit 0
done
"$playwright" install chromium-headless-shell >/dev/null 2>&1 && exit 0
if [ "$CI" = true ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium-headless-shell >/dev/null && exit 0
fi
echo "no headless Chromium could be installed; the tests that need one will be skipped"
