// The page of the Ablation-CAM tab.
export async function render() {
  document.documentElement.dataset.ready = "1";
}
