/**
 * `node webpack.mjs PROJECT ENTRY FOLDER` bundles ENTRY for the browser into FOLDER, using webpack's default production
 * configuration.
 */
import webpack from "webpack";

const [context, entry, path] = process.argv.slice(2);
const compiler = webpack({
  context,
  mode: "production",
  entry: `./${entry}`,
  output: { path, filename: entry },
  performance: false,
});
compiler.run((error, stats) => {
  if (error) throw error;
  const { errors, warnings } = stats.toJson({ all: false, errors: true, warnings: true });
  for (const { message } of [...errors, ...warnings]) console.error(message);
  process.exitCode = errors.length || warnings.length ? 1 : 0;
});
