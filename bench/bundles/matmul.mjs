// Only multiplies two matrices.
import { tensor } from "../../dist/src/index.js";

const [a, b] = [[[1, 2], [3, 4]], [[1], [1]]].map((rows) => tensor(rows)); // biome-ignore format: matrices
console.log(a.matmul(b).toArray());
