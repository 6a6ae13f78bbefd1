/**
 * `node webpack.mjs PROJECT ENTRY FOLDER [TARGET]` bundles ENTRY into FOLDER for the target, `web` or `node`, using webpack's default
 * production configuration.
 */
import webpack from "webpack";

const [context, entry, path, target = "web"] = process.argv.slice(2);
const compiler = webpack({
  context,
  mode: "production",
  target,
  entry: `./${entry}`,
  // For Node, webpack writes CommonJS.
  output: { path, filename: target === "node" ? entry.replace(".mjs", ".cjs") : entry },
  performance: false,
});
compiler.run((error, stats) => {
  if (error) throw error;
  const { errors, warnings } = stats.toJson({ all: false, errors: true, warnings: true });
  for (const { message } of [...errors, ...warnings]) console.error(message);
  process.exitCode = errors.length || warnings.length ? 1 : 0;
});
