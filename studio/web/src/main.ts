import { mount } from 'svelte'
import 'uplot/dist/uPlot.min.css'
import './app.css'
import App from './App.svelte'

const target = document.getElementById('studio')!
target.replaceChildren() // what stands there while this is loaded
mount(App, { target })
