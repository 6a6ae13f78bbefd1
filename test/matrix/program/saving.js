/** A page that tries to save a file, which pages cannot do. */
import { saveFile } from "nabla/formats";

globalThis.run = () => saveFile("run.safetensors", new Uint8Array(8)).catch((error) => error.message);
