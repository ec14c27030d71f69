// Puts beside the compiled page what is not compiled: a browser finds everything in one folder, without a bundler.
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = import.meta.dirname;
const to = join(here, "../../../dist/runtime/server/web");
const file = (specifier) => fileURLToPath(import.meta.resolve(specifier));

for (const name of ["index.html", "style.css"]) copyFileSync(join(here, name), join(to, name));
copyModule(join(dirname(file("marked")), "marked.esm.js"), "marked.js");
copyModule(join(dirname(file("dompurify")), "purify.es.mjs"), "dompurify.js");

/** Without the line that names a source map: there is none here, and browsers would ask for it. */
function copyModule(from, name) {
  writeFileSync(
    join(to, name),
    readFileSync(from, "utf8").replace(/^\/\/# sourceMappingURL=.*$/m, ""),
  );
}
