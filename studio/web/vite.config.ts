import { svelte } from '@sveltejs/vite-plugin-svelte'
import { marked } from 'marked'
import { defineConfig, type Plugin } from 'vite'

// Lessons are docs/learn/*.md: read by people in the repository, and by the page as HTML.
const lessons: Plugin = {
  name: 'lessons',
  transform(text, id) {
    if (!id.endsWith('.md')) return
    const html = marked.parse(text, { async: false })
    return { code: `export default ${JSON.stringify(html)}`, map: null }
  },
}

// The names of the files are fixed: what is embedded changes only where its source does.
export default defineConfig({
  plugins: [svelte(), lessons],
  base: './',
  build: {
    target: 'es2022',
    modulePreload: false,
    cssCodeSplit: false,
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 1000,
    rollupOptions: {
      output: {
        entryFileNames: 'assets/studio.js',
        chunkFileNames: 'assets/[name].js',
        assetFileNames: 'assets/[name][extname]',
      },
    },
  },
})
