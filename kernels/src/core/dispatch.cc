#include "core/dispatch.h"

namespace kernels {

std::vector<Listing>& Listings() {
  // In a function: the operations that add to it are initialized in no particular order.
  static std::vector<Listing> listings;
  return listings;
}

}  // namespace kernels
